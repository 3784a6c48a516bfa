"""Checkpoints come back as they went, and say whose they are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src_core.errors import CheckpointError
from src_core.models.checkpoint import Checkpoint
from src_core.models.checkpoint_meta import META_NAME, TENSORS_NAME, CheckpointMeta, checkpoint_meta
from src_core.models.learned_risks import LearnedRisks
from src_core.models.likeness import Likeness
from src_core.models.local_branches import LocalBranches
from src_core.models.operating_point import OperatingPoint
from src_core.models.standardise import Standardiser
from src_core.models.student import Student
from tests.core.models.small_checkpoint import ENCODERS, retensor, small_checkpoint, small_meta


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "checkpoint"
    small_checkpoint().save(path)
    return path


def test_comes_back_the_same(folder: Path) -> None:
    saved, loaded = small_checkpoint(), Checkpoint.load(folder)
    assert loaded.meta == saved.meta == checkpoint_meta(folder)
    assert sorted(path.name for path in folder.iterdir()) == [META_NAME, TENSORS_NAME]
    bags, mask = torch.randn(2, 12, 10), torch.ones(2, 12, dtype=torch.bool)
    assert torch.equal(loaded.student()(bags, mask).logits, saved.student()(bags, mask).logits)
    ours, theirs = loaded.branches(), saved.branches()
    assert ours is not None
    assert theirs is not None
    assert torch.equal(ours(bags, mask).logits, theirs(bags, mask).logits)
    teachers = loaded.teachers()
    assert teachers is not None
    assert teachers({"mean-lite0": torch.zeros(1, 6)}).shape == (1, 1, 16)
    for one, other in zip(loaded.views(), saved.views(), strict=True):
        np.testing.assert_array_equal(one.mean, other.mean)
        np.testing.assert_array_equal(one.scale, other.scale)
    assert len(loaded.teacher_views()) == 1


def test_a_checkpoint_of_the_first_format_is_read_as_one_of_slides_and_classes(
    folder: Path,
) -> None:
    path = folder / META_NAME
    stored = json.loads(path.read_text())
    new = ("target_columns", "per", "target_mean", "target_std")
    old = {key: value for key, value in stored.items() if key not in new}
    path.write_text(json.dumps(old | {"format_version": 1}))
    meta = Checkpoint.load(folder).meta
    assert meta == small_meta()
    assert (meta.target.columns, meta.target.task, meta.target.level) == (
        ("egfr",), "classification", "slide",
    )  # fmt: skip


def test_a_regression_speaks_in_the_unit_of_its_labels() -> None:
    student = small_meta().student.replace(task="regression")
    scale = {"target_mean": (10.0, -2.0), "target_std": (4.0, 0.5)}
    meta = small_meta(
        student=student, classes=("TP53", "EGFR"), target_columns=("TP53", "EGFR"), **scale
    )
    assert CheckpointMeta.from_dict(json.loads(json.dumps(meta.to_dict()))) == meta
    assert meta.target_scale.in_units(np.array([[1.0, 2.0], [0.0, 0.0]])).tolist() == [
        [14, -1],
        [10, -2],
    ]
    assert small_meta().target_scale.in_units(np.ones((1, 2))).tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target_mean": (1.0,), "target_std": (1.0,)}, "1 numbers for target_mean"),
        ({"target_mean": (1.0, 2.0)}, "no standard deviation"),
        ({"target_mean": (1.0, 2.0), "target_std": (1.0, 0.0)}, "target_std"),
        ({"target_mean": (1.0, float("nan")), "target_std": (1.0, 1.0)}, "target_mean"),
        ({"per": "block"}, "whose its labels"),
        ({"target_columns": ("a", "a")}, "target is impossible"),
    ],
)
def test_targets_that_cannot_be_are_refused(changes: Any, said: str) -> None:
    student = small_meta().student.replace(task="regression")
    with pytest.raises(CheckpointError, match=said):
        small_meta(**{"student": student, **changes})
    with pytest.raises(CheckpointError, match="numbers for target_mean"):
        small_meta(target_mean=(1.0, 2.0), target_std=(1.0, 1.0))


def test_the_median_risk_is_a_number_of_survival_alone() -> None:
    survival = {
        "student": small_meta().student.replace(task="survival", n_outputs=1),
        "classes": ("log-hazard",),
        "target_columns": ("months", "event"),
        "per": "patient",
    }
    meta = small_meta(**survival, median_risk=-0.25)
    assert CheckpointMeta.from_dict(json.loads(json.dumps(meta.to_dict()))) == meta
    for value in (float("nan"), float("inf"), -1e31, "0", True, [0.0]):
        with pytest.raises(CheckpointError, match="for median_risk; it must lie from"):
            small_meta(**survival, median_risk=value)
    with pytest.raises(CheckpointError, match="learned no survival"):
        small_meta(median_risk=0.0)


def test_the_risks_that_were_learned_from_stand_beside_their_median() -> None:
    student = small_meta().student.replace(task="survival", n_outputs=1)
    survival = {
        "student": student,
        "classes": ("log-hazard",),
        "target_columns": ("t", "e"),
        "per": "patient",
    }
    risks = LearnedRisks.of(np.array([0.5, -1.0]))
    meta = small_meta(**survival, median_risk=-0.25, learned_risks=risks)
    stored = json.loads(json.dumps(meta.to_dict()))
    assert CheckpointMeta.from_dict(stored) == meta
    for damage in ([1.0], {"n": 2}, {"n": 2, "values": [1.0, 0.0]}):
        with pytest.raises(CheckpointError):
            CheckpointMeta.from_dict({**stored, "learned_risks": damage})
    with pytest.raises(CheckpointError, match="but not their median"):
        small_meta(**survival, learned_risks=risks)


def test_builds_modules_of_their_own(folder: Path) -> None:
    """Fine-tuning a student changes neither the checkpoint nor a second student."""
    checkpoint = Checkpoint.load(folder)
    student = checkpoint.student()
    assert not student.training
    assert all(parameter.requires_grad for parameter in student.parameters())
    with torch.no_grad():
        student.head.weight += 1
    assert not torch.equal(student.head.weight, checkpoint.student().head.weight)


def test_half_precision_weights_are_stored_as_float32() -> None:
    meta = small_meta(teachers=())
    checkpoint = Checkpoint.of(
        meta,
        student=Student(meta.student).half(),
        branches=LocalBranches(meta.student),
        views=small_checkpoint().views(),
    )
    assert {value.dtype for value in checkpoint.tensors.values()} == {torch.float32}


def test_says_what_its_licences_allow(folder: Path) -> None:
    meta = checkpoint_meta(folder)
    assert meta.licences == ("Apache-2.0", "CC-BY-NC-4.0")
    assert not meta.commercial
    assert "research use only" in json.loads((folder / META_NAME).read_text())["note"].lower()


def test_sidecar_is_read_without_torch(folder: Path) -> None:
    code = (
        "import sys, pathlib; from src_core.models.checkpoint_meta import checkpoint_meta; "
        "m = checkpoint_meta(pathlib.Path(sys.argv[1])); "
        "sys.exit('torch' in sys.modules or m.target_name != 'egfr')"
    )
    assert subprocess.run([sys.executable, "-c", code, str(folder)], check=False).returncode == 0


def test_nothing_is_overwritten_unless_asked(folder: Path, tmp_path: Path) -> None:
    other = small_checkpoint(1)
    with pytest.raises(CheckpointError, match="exists already"):
        other.save(folder)
    assert torch.equal(
        Checkpoint.load(folder).student().head.weight, small_checkpoint().student().head.weight
    )
    other.save(folder, overwrite=True)
    assert torch.equal(Checkpoint.load(folder).student().head.weight, other.student().head.weight)
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "slide.svs").write_text("x")
    with pytest.raises(CheckpointError, match="exists already"):
        other.save(precious, overwrite=True)
    assert (precious / "slide.svs").exists()


def test_failed_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("src_core.models.checkpoint.write_json", fail)
    with pytest.raises(OSError, match="disk full"):
        small_checkpoint().save(tmp_path / "checkpoint")
    assert list(tmp_path.iterdir()) == []


def test_what_it_knows_of_slides_and_of_its_thresholds_comes_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    likeness = Likeness(
        axes=tuple(
            rng.normal(size=(count, one.dim)).astype(np.float32)
            for count, one in zip((3, 2), ENCODERS, strict=True)
        ),
        middle=rng.normal(size=7).astype(np.float32),
        whitening=rng.normal(size=(7, 7)).astype(np.float32),
        threshold=0.5,
    )
    shares = {"sensitivity": 0.95, "specificity": 0.9, "indeterminate": 0.2, "accuracy": 0.9}
    point = OperatingPoint(low=0.25, high=0.75, n_patients=(30, 25), **shares)
    meta = small_meta(teachers=(), likeness_axes=(3, 2), operating_point=point)
    parts: dict[str, Any] = {
        "student": Student(meta.student),
        "branches": LocalBranches(meta.student),
        "views": [Standardiser.of(np.zeros(one.dim), np.ones(one.dim)) for one in ENCODERS],
    }
    made = Checkpoint.of(meta, **parts, likeness=likeness)
    made.save(tmp_path / "c")
    again = Checkpoint.load(tmp_path / "c")
    assert again.meta == meta
    found = again.likeness()
    assert found is not None
    np.testing.assert_array_equal(found.axes[1], likeness.axes[1])
    rows = rng.normal(size=(4, 10)).astype(np.float32)
    same = (one.unlikeness(one.coordinates(rows)) for one in (found, likeness))
    assert len(set(same)) == 1
    retensor(lambda t: t["likeness.threshold"].zero_())(tmp_path / "c")
    with pytest.raises(CheckpointError, match="threshold is no distance"):
        Checkpoint.load(tmp_path / "c")
    with pytest.raises(CheckpointError, match=r"lacks the weights 'likeness\.0\.axes'"):
        Checkpoint.of(meta, **parts)
    plain = Checkpoint.of(small_meta(teachers=()), **parts)
    assert plain.likeness() is None


def test_a_checkpoint_of_before_knows_neither(folder: Path) -> None:
    path = folder / META_NAME
    stored = json.loads(path.read_text())
    for name in ("operating_point", "likeness_axes", "target_mean", "target_std", "median_risk"):
        stored.pop(name)
    stored.pop("learned_risks")
    path.write_text(json.dumps(stored))
    meta = Checkpoint.load(folder).meta
    assert (meta.operating_point, meta.likeness_axes, meta.median_risk) == (None, (), None)
    assert meta.learned_risks is None


def test_without_branches_and_teachers(tmp_path: Path) -> None:
    meta = small_meta(teachers=(), student=small_meta().student.replace(n_branches=0))
    checkpoint = Checkpoint.of(
        meta, student=Student(meta.student), branches=None, views=small_checkpoint().views()
    )
    checkpoint.save(tmp_path / "plain")
    loaded = Checkpoint.load(tmp_path / "plain")
    assert loaded.branches() is None
    assert loaded.teachers() is None
