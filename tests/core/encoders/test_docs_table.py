"""The table of encoders in the documentation is that of the cards."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def test_the_table_is_that_of_the_registry(project_root: Path) -> None:
    script = project_root / "docs/scripts/encoder_table.py"
    spec = importlib.util.spec_from_file_location("encoder_table", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (project_root / "docs/encoders.md").read_text(encoding="utf-8")
    assert module.page_with_table(page) == page, "run python docs/scripts/encoder_table.py"
