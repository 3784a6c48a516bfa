"""What every test of the plugin may use."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_fusecpath.remembered import store_choices

FORBIDDEN = ("torch", "timm")


@pytest.fixture(autouse=True)
def window_process_without_torch() -> Iterator[None]:
    """Fail where the window's process has loaded torch, in whatever way.

    The engine's tests load it: they have a process of their own.
    """
    yield
    loaded = [name for name in FORBIDDEN if name in sys.modules]
    # With a canvas up, loading them ends the process on some machines.
    assert not loaded, f"the window's process has loaded {loaded}"


@pytest.fixture(autouse=True)
def garbage_is_what_the_test_has_made() -> Iterator[None]:
    """Let searches for garbage pass over what was there before the test.

    napari searches whenever a layer goes, half a second each time, most of it among the modules.
    """
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def folders_of_the_user_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Keep what we cache and remember out of the home of whoever runs the tests."""
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_, **__: str(tmp_path / "cache"))
    monkeypatch.setattr("platformdirs.user_state_dir", lambda *_, **__: str(tmp_path / "state"))
    yield
    store_choices()  # what a test has chosen last is not left to the next one


@pytest.fixture
def canvas_of(qtbot: Any) -> Callable[..., NDArray[np.uint8]]:
    """Return a function that draws a viewer's canvas, (height, width, 3), once it is at rest."""

    def canvas(viewer: Any, *, wait: int = 50) -> NDArray[np.uint8]:
        qtbot.wait(wait)
        picture = viewer.screenshot(canvas_only=True, flash=False)
        return np.asarray(picture[..., :3])

    return canvas
