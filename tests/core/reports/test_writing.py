from __future__ import annotations

import json

import numpy as np
import pytest

from src_core.errors import JobCancelled, ProjectError
from src_core.reports import write_report


def test_a_page_and_its_figures_lie_side_by_side(tmp_path, random_classes) -> None:
    folder = tmp_path / "new" / "report"
    values = write_report(folder, random_classes(30), n_resamples=40, seed=3)
    assert sorted(path.name for path in folder.iterdir()) == ["figures.json", "report.html"]
    stored = json.loads((folder / "figures.json").read_text())
    assert stored == values
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert html.startswith("<!DOCTYPE html>")
    area = stored["sets"]["test"]["figures"]["auroc"]
    assert f"({area['low']:.3f} to {area['high']:.3f})" in html


def test_nothing_is_written_when_it_is_stopped_or_when_nothing_is_scored(
    tmp_path, random_classes
) -> None:
    with pytest.raises(JobCancelled):
        write_report(tmp_path / "r", random_classes(10), n_resamples=20, stop=lambda: True)
    with pytest.raises(ProjectError, match="No slide is scored"):
        write_report(tmp_path / "r", random_classes(10).rows(np.zeros(0, int)))
    assert not (tmp_path / "r").exists()


def test_a_place_that_cannot_be_written_to_is_told_in_one_sentence(
    tmp_path, random_classes
) -> None:
    (tmp_path / "r").touch()  # no folder can be made there, as on a disk that is read-only
    with pytest.raises(ProjectError, match=r"figures\.json cannot be written .*; close"):
        write_report(tmp_path / "r", random_classes(30), n_resamples=40, seed=3)
