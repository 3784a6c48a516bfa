"""The table of encoders in the documentation is that of the cards."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from src_core.encoders.slide_cards import SLIDE_CARDS


def test_the_table_is_that_of_the_registry(project_root: Path) -> None:
    script = project_root / "docs/scripts/encoder_table.py"
    spec = importlib.util.spec_from_file_location("encoder_table", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (project_root / "docs/encoders.md").read_text(encoding="utf-8")
    assert module.page_with_table(page) == page, "run python docs/scripts/encoder_table.py"


def test_every_slide_encoder_is_in_the_table_of_teachers(project_root: Path) -> None:
    page = (project_root / "docs/teachers.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `")]
    imported = {
        name: "imported" in row[3] for row in rows for name in re.findall("`(.+?)`", row[1])
    }
    assert imported.pop("mean-<encoder>") is False
    assert imported == {card.name: loader is None for card, loader in SLIDE_CARDS.items()}
