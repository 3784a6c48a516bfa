"""The synthetic slide and encoders of `killed_run.py`, as a module."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("killed_run.py")


@pytest.fixture(scope="session")
def toys() -> Any:
    """ToyEncoder, NumberedSlide, numbered_grid."""
    spec = importlib.util.spec_from_file_location("killed_run", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["killed_run"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def script() -> Path:
    """To be run by a Python of its own."""
    return SCRIPT
