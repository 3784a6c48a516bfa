"""What reviewers say of a slide's labels: kept, taken back, never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from src_core.errors import ProjectError
from src_core.review.corrections import CorrectionStore


def test_the_latest_correction_holds_until_it_is_taken_back(tmp_path: Path) -> None:
    store = CorrectionStore(tmp_path / "s" / "review" / "labels.json")
    assert store.current() == {}
    store.correct("label", "tumour", reviewer="ada", comment="a nodule of 2 mm")
    store.correct("grade", "", reviewer="ada")
    store.correct("label", "normal", reviewer="eve")
    again = CorrectionStore(store.path)
    assert again.current() == {"label": "normal", "grade": ""}
    again.correct("label", None, reviewer="ada")
    assert store.current() == {"grade": ""}
    assert store.current(acts=2) == {"label": "tumour", "grade": ""}
    assert store.extent() == store.extent(acts=4) != store.extent(acts=3)
    assert store.extent(acts=0) is store.extent(acts=5) is None
    assert "a nodule of 2 mm" in store.path.read_text(), "nothing that was said is lost"


@pytest.mark.parametrize(
    "text", ["{", '{"corrections": [{"target": 1}]}', '{"corrections": {}}', "[]"]
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(ProjectError, match=r"labels\.json"):
        CorrectionStore(path).current()


@pytest.mark.parametrize(("target", "who"), [("", "ada"), ("label", " "), ("x" * 3000, "ada")])
def test_what_nobody_can_mean_is_not_stored(tmp_path: Path, target: str, who: str) -> None:
    store = CorrectionStore(tmp_path / "labels.json")
    with pytest.raises(ValueError, match="correction"):
        store.correct(target, "tumour", reviewer=who)
    assert not store.path.exists()
