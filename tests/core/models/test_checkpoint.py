"""Checkpoints come back as they went, and hostile ones are refused in a sentence."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from src_core.errors import CheckpointError
from src_core.models.checkpoint import Checkpoint
from src_core.models.checkpoint_meta import (
    META_NAME,
    TENSORS_NAME,
    CheckpointMeta,
    EmbeddingSource,
    checkpoint_meta,
)
from src_core.models.config import StudentConfig
from src_core.models.learned_risks import LearnedRisks
from src_core.models.likeness import Likeness
from src_core.models.local_branches import LocalBranches
from src_core.models.operating_point import OperatingPoint
from src_core.models.standardise import Standardiser
from src_core.models.student import Student
from src_core.models.teachers import TeacherProjections

ENCODERS = (
    EmbeddingSource(
        name="lite0", dim=6, licence="Apache-2.0", recipe={"input_px": 224}, commercial=True
    ),
    EmbeddingSource(name="timm:a.b", dim=4, licence="CC-BY-NC-4.0", commercial=False),
)
TEACHERS = (EmbeddingSource(name="mean-lite0", dim=6, licence="Apache-2.0", commercial=True),)


def _meta(**changes: Any) -> CheckpointMeta:
    config = StudentConfig(input_dim=10, n_outputs=2, n_per_cluster=4, width=16, heads=2)
    values: dict[str, Any] = {
        "student": config,
        "encoders": ENCODERS,
        "teachers": TEACHERS,
        "target_name": "egfr",
        "classes": ("wild type", "mutated"),
        "train_config": {"epochs": 3},
        "metrics": {"auroc": 0.9},
        "localisation": {"patch_auroc": 0.95, "against": "planted truth"},
        "student_logit_std": 1.5,
        "branches_logit_std": 0.5,
        "seed": 2025,
        "versions": {"torch": "2.3"},
        "created": "2026-01-01T00:00:00+00:00",
    }
    return CheckpointMeta(**{**values, **changes})


def _checkpoint(seed: int = 0) -> Checkpoint:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    meta = _meta()
    return Checkpoint.of(
        meta,
        student=Student(meta.student),
        branches=LocalBranches(meta.student),
        teachers=TeacherProjections({"mean-lite0": 6}, 16),
        views=[Standardiser.fit([rng.normal(size=(9, dim)).astype(np.float32)]) for dim in (6, 4)],
        teacher_views=[Standardiser.fit([rng.normal(size=(9, 6)).astype(np.float32)])],
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "checkpoint"
    _checkpoint().save(path)
    return path


def test_comes_back_the_same(folder: Path) -> None:
    saved, loaded = _checkpoint(), Checkpoint.load(folder)
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
    assert meta == _meta()
    assert (meta.target.columns, meta.target.task, meta.target.level) == (
        ("egfr",), "classification", "slide",
    )  # fmt: skip


def test_a_regression_speaks_in_the_unit_of_its_labels() -> None:
    student = _meta().student.replace(task="regression")
    scale = {"target_mean": (10.0, -2.0), "target_std": (4.0, 0.5)}
    meta = _meta(
        student=student, classes=("TP53", "EGFR"), target_columns=("TP53", "EGFR"), **scale
    )
    assert CheckpointMeta.from_dict(json.loads(json.dumps(meta.to_dict()))) == meta
    assert meta.target_scale.in_units(np.array([[1.0, 2.0], [0.0, 0.0]])).tolist() == [
        [14, -1],
        [10, -2],
    ]
    assert _meta().target_scale.in_units(np.ones((1, 2))).tolist() == [[1, 1]]


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
    student = _meta().student.replace(task="regression")
    with pytest.raises(CheckpointError, match=said):
        _meta(**{"student": student, **changes})
    with pytest.raises(CheckpointError, match="numbers for target_mean"):
        _meta(target_mean=(1.0, 2.0), target_std=(1.0, 1.0))


def test_the_median_risk_is_a_number_of_survival_alone() -> None:
    survival = {
        "student": _meta().student.replace(task="survival", n_outputs=1),
        "classes": ("log-hazard",),
        "target_columns": ("months", "event"),
        "per": "patient",
    }
    meta = _meta(**survival, median_risk=-0.25)
    assert CheckpointMeta.from_dict(json.loads(json.dumps(meta.to_dict()))) == meta
    for value in (float("nan"), float("inf"), -1e31, "0", True, [0.0]):
        with pytest.raises(CheckpointError, match="for median_risk; it must lie from"):
            _meta(**survival, median_risk=value)
    with pytest.raises(CheckpointError, match="learned no survival"):
        _meta(median_risk=0.0)


def test_the_risks_that_were_learned_from_stand_beside_their_median() -> None:
    student = _meta().student.replace(task="survival", n_outputs=1)
    survival = {
        "student": student,
        "classes": ("log-hazard",),
        "target_columns": ("t", "e"),
        "per": "patient",
    }
    risks = LearnedRisks.of(np.array([0.5, -1.0]))
    meta = _meta(**survival, median_risk=-0.25, learned_risks=risks)
    stored = json.loads(json.dumps(meta.to_dict()))
    assert CheckpointMeta.from_dict(stored) == meta
    for damage in ([1.0], {"n": 2}, {"n": 2, "values": [1.0, 0.0]}):
        with pytest.raises(CheckpointError):
            CheckpointMeta.from_dict({**stored, "learned_risks": damage})
    with pytest.raises(CheckpointError, match="but not their median"):
        _meta(**survival, learned_risks=risks)


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
    meta = _meta(teachers=())
    checkpoint = Checkpoint.of(
        meta,
        student=Student(meta.student).half(),
        branches=LocalBranches(meta.student),
        views=_checkpoint().views(),
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
    other = _checkpoint(1)
    with pytest.raises(CheckpointError, match="exists already"):
        other.save(folder)
    assert torch.equal(
        Checkpoint.load(folder).student().head.weight, _checkpoint().student().head.weight
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
        _checkpoint().save(tmp_path / "checkpoint")
    assert list(tmp_path.iterdir()) == []


def _edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        values = json.loads((folder / META_NAME).read_text())
        change(values)
        (folder / META_NAME).write_text(json.dumps(values))

    return edit


def _retensor(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / TENSORS_NAME)
        change(tensors)
        save_file(tensors, folder / TENSORS_NAME)

    return edit


def _cut(share: float) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        data = (folder / TENSORS_NAME).read_bytes()
        (folder / TENSORS_NAME).write_bytes(data[: int(len(data) * share)])

    return edit


def _liar(folder: Path) -> None:
    """A header that claims a tensor of petabytes."""
    header = {
        "student.head.weight": {"dtype": "F32", "shape": [10**9, 10**6], "data_offsets": [0, 4]}
    }
    text = json.dumps(header).encode()
    (folder / TENSORS_NAME).write_bytes(struct.pack("<Q", len(text)) + text + b"\0\0\0\0")


HEAD = "student.head.weight"
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "giant width": (_edit(lambda v: v["student"].update(width=10**9)), "from 8 to 4096"),
    "largest width": (_edit(lambda v: v["student"].update(width=4096)), "have shape"),
    "many branches": (_edit(lambda v: v["student"].update(n_branches=16)), "have shape"),
    "negative": (_edit(lambda v: v["student"].update(heads=-1)), "from 1 to 64"),
    "text for a number": (_edit(lambda v: v["student"].update(width="16")), "whole number"),
    "null student": (_edit(lambda v: v.update(student=None)), "no named values"),
    "list student": (_edit(lambda v: v.update(student=[["width", 3]])), "no named values"),
    "nested setting": (_edit(lambda v: v["student"].update(width={"a": 1})), "whole number"),
    "student without sizes": (_edit(lambda v: v.update(student={})), "student is impossible"),
    "newer": (_edit(lambda v: v.update(format_version=3)), "format 3, this program reads 1 and 2"),
    "no version": (_edit(lambda v: v.pop("format_version")), "format None"),
    "unknown entry": (_edit(lambda v: v.update(code="import os")), "unknown entry 'code'"),
    "missing entry": (_edit(lambda v: v.pop("classes")), "lacks the entry 'classes'"),
    "classes": (_edit(lambda v: v["classes"].append("third")), "names 3 outputs"),
    "class of wrong type": (_edit(lambda v: v.update(classes=[1, 2])), "no readable text"),
    "classes as text": (_edit(lambda v: v.update(classes="ab")), "no list"),
    "classes of one name": (
        _edit(lambda v: v.update(classes=["mutated", "mutated"])),
        "no names, or share one",
    ),
    "class without a name": (
        _edit(lambda v: v.update(classes=["", "b"])),
        "no names, or share one",
    ),
    "encoder dims": (_edit(lambda v: v["encoders"][0].update(dim=7)), "encoders give 11"),
    "encoder twice": (_edit(lambda v: v["encoders"][1].update(name="lite0")), "named twice"),
    "encoder of wrong type": (_edit(lambda v: v.update(encoders=[3])), "no named values"),
    "encoder of true": (_edit(lambda v: v["encoders"][0].update(dim=True)), "must lie from 1"),
    "scale": (_edit(lambda v: v.update(student_logit_std=0)), "student_logit_std"),
    "scale of nan": (_edit(lambda v: v.update(student_logit_std=float("nan"))), "not valid JSON"),
    "scale of all digits": (
        _edit(lambda v: v.update(student_logit_std=10**400)),
        "student_logit_std",
    ),
    "metrics": (_edit(lambda v: v.update(metrics=[1])), "metrics"),
    "teachers gone": (_edit(lambda v: v.update(teachers=[])), "unknown weights 'teacher"),
    "no sidecar": (lambda f: (f / META_NAME).unlink(), "no readable checkpoint"),
    "sidecar no JSON": (lambda f: (f / META_NAME).write_text("{"), "not valid JSON"),
    "sidecar a list": (lambda f: (f / META_NAME).write_text("[]"), "no readable checkpoint"),
    "sidecar deep": (lambda f: (f / META_NAME).write_text("[" * 10**5), "not valid JSON"),
    "no weights": (lambda f: (f / TENSORS_NAME).unlink(), "missing or damaged"),
    "empty weights": (_cut(0), "missing or damaged"),
    "weights cut in the header": (_cut(0.01), "missing or damaged"),
    "weights cut at the end": (_cut(0.999), "missing or damaged"),
    "weights that lie": (_liar, "missing or damaged"),
    "weights are a pickle": (
        lambda f: torch.save({"a": torch.zeros(2)}, f / TENSORS_NAME),
        "missing or damaged",
    ),
    "one gone": (_retensor(lambda t: t.pop(HEAD)), "lacks the weights 'student.head.weight'"),
    "one too many": (_retensor(lambda t: t.update(evil=torch.zeros(1))), "unknown weights 'evil'"),
    "shape": (_retensor(lambda t: t.update({HEAD: torch.zeros(3, 16)})), "have shape"),
    "type": (_retensor(lambda t: t.update({HEAD: t[HEAD].double()})), "not float32"),
    "nan": (_retensor(lambda t: t[HEAD].fill_(float("nan"))), "not all numbers"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_refused_in_words(damage: str, folder: Path) -> None:
    spoil, message = DAMAGE[damage]
    spoil(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        Checkpoint.load(folder)
    assert str(folder) in str(caught.value)


def test_modules_that_do_not_fit_the_sidecar_are_refused() -> None:
    meta = _meta(teachers=())
    views = _checkpoint().views()
    student, branches = Student(meta.student), LocalBranches(meta.student)
    with pytest.raises(CheckpointError, match="lacks the weights 'branches"):
        Checkpoint.of(meta, student=student, branches=None, views=views)
    with pytest.raises(CheckpointError, match=r"lacks the weights 'views\.1\.mean'"):
        Checkpoint.of(meta, student=student, branches=branches, views=views[:1])
    with pytest.raises(CheckpointError, match="have shape"):
        Checkpoint.of(meta, student=student, branches=branches, views=views[::-1])
    wider = Student(meta.student.replace(width=32))
    with pytest.raises(CheckpointError, match="have shape"):
        Checkpoint.of(meta, student=wider, branches=branches, views=views)


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
    meta = _meta(teachers=(), likeness_axes=(3, 2), operating_point=point)
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
    _retensor(lambda t: t["likeness.threshold"].zero_())(tmp_path / "c")
    with pytest.raises(CheckpointError, match="threshold is no distance"):
        Checkpoint.load(tmp_path / "c")
    with pytest.raises(CheckpointError, match=r"lacks the weights 'likeness\.0\.axes'"):
        Checkpoint.of(meta, **parts)
    plain = Checkpoint.of(_meta(teachers=()), **parts)
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
    meta = _meta(teachers=(), student=_meta().student.replace(n_branches=0))
    checkpoint = Checkpoint.of(
        meta, student=Student(meta.student), branches=None, views=_checkpoint().views()
    )
    checkpoint.save(tmp_path / "plain")
    loaded = Checkpoint.load(tmp_path / "plain")
    assert loaded.branches() is None
    assert loaded.teachers() is None
