"""Whether a fine-tuning has forgotten so much that somebody has to decide."""

from __future__ import annotations

from pathlib import Path

import pytest

from src_core.errors import ProjectError
from src_core.project import Project
from src_core.provenance import write_json
from src_core.tuned_runs import tuned_run
from src_core.tuning_check import needs_decision


@pytest.mark.parametrize(
    ("check", "waits"),
    [
        ({"drop": 0.03}, True),
        ({"drop": 0.02}, False),
        ({"drop": -0.5}, False),
        ({"drop": 0}, False),
        ({"drop": None}, True),
        ({"drop": True}, True),
        ({"drop": 10**400}, True),
        ({"drop": -(10**400)}, True),
        ({}, True),
        ("damaged", True),
    ],
)
def test_what_has_forgotten_much_or_nobody_knows_how_much_waits(check: object, waits: bool) -> None:
    assert needs_decision(check, 0.02) is waits


def test_a_tolerance_that_is_none_is_told_as_none(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project")
    run = project.run("run-0002")
    write_json(run / "metrics.json", {"check": {}})
    for tolerance, told in ((0.02, 0.02), (10**400, None), ("0.02", None), (None, None)):
        asked = {"parent": "run-0001", "marks": {}, "feedback": {"tolerance": tolerance}}
        write_json(run / "config.json", asked)
        tuned = tuned_run(project, "run-0002")
        assert tuned is not None
        assert tuned.tolerance == told


@pytest.mark.parametrize("wrong", ["many", None, True, -1, 2**31, {}])
def test_marks_that_are_no_counts_are_damaged(tmp_path: Path, wrong: object) -> None:
    project = Project.create(tmp_path / "project")
    run = project.run("run-0002")
    write_json(run / "metrics.json", {"check": {}})
    write_json(run / "config.json", {"parent": "run-0001", "marks": {"a": {"tumour": wrong}}})
    with pytest.raises(ProjectError, match=r"config\.json is damaged; fine-tune again"):
        tuned_run(project, "run-0002")
