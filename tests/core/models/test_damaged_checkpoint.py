"""Checkpoints that are damaged, hostile or do not fit are refused in a sentence."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from src_core.errors import CheckpointError
from src_core.models.checkpoint import Checkpoint
from src_core.models.checkpoint_meta import META_NAME, TENSORS_NAME
from src_core.models.local_branches import LocalBranches
from src_core.models.student import Student
from tests.core.models.small_checkpoint import retensor, small_checkpoint, small_meta


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "checkpoint"
    small_checkpoint().save(path)
    return path


def _edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        values = json.loads((folder / META_NAME).read_text())
        change(values)
        (folder / META_NAME).write_text(json.dumps(values))

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
    "one gone": (retensor(lambda t: t.pop(HEAD)), "lacks the weights 'student.head.weight'"),
    "one too many": (retensor(lambda t: t.update(evil=torch.zeros(1))), "unknown weights 'evil'"),
    "shape": (retensor(lambda t: t.update({HEAD: torch.zeros(3, 16)})), "have shape"),
    "type": (retensor(lambda t: t.update({HEAD: t[HEAD].double()})), "not float32"),
    "nan": (retensor(lambda t: t[HEAD].fill_(float("nan"))), "not all numbers"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_refused_in_words(damage: str, folder: Path) -> None:
    spoil, message = DAMAGE[damage]
    spoil(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        Checkpoint.load(folder)
    assert str(folder) in str(caught.value)


def test_modules_that_do_not_fit_the_sidecar_are_refused() -> None:
    meta = small_meta(teachers=())
    views = small_checkpoint().views()
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
