"""A training that is cut short goes on from its last whole epoch, to the same bytes."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from src_core.errors import DivergedError, JobCancelled
from src_core.provenance import file_sha256
from src_core.training import fit
from src_core.training.config import TrainConfig
from src_core.training.evaluation import Evaluation
from src_core.training.resume import Keep


@pytest.fixture(scope="module")
def cohort(planted: Any) -> Any:
    return planted(24, seed=1)


@pytest.fixture(scope="module")
def taught(cohort: Any) -> Any:
    """The same slides with a teacher that knows their class, and one that knows nothing."""
    rng = np.random.default_rng(0)
    slides = [
        dataclasses.replace(
            slide,
            teachers={
                "knowing": (rng.normal(size=4) + 9 * slide.target).astype(np.float32),
                "silent": rng.normal(size=3).astype(np.float32),
            },
        )
        for slide in cohort.slides
    ]
    return dataclasses.replace(cohort, slides=tuple(slides))


@pytest.fixture(scope="module")
def short(quick: TrainConfig) -> TrainConfig:
    return quick.replace(epochs=4, patience=5)


def cut_short(cohort: Any, config: TrainConfig, keep: Keep, *, after: int) -> list[Any]:
    """Train until so many batches are done, and return what was reported."""
    seen: list[Any] = []

    def stop() -> bool:
        return len(seen) > after

    with pytest.raises(JobCancelled):
        fit(cohort, config, keep=keep, report=seen.append, stop=stop)
    return seen


def same(one: Any, other: Any) -> bool:
    ours, theirs = one.checkpoint.tensors, other.checkpoint.tensors
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def timeless(result: Any) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in result.history]


def test_what_a_stopped_training_has_is_kept_and_made_again(
    cohort: Any, short: TrainConfig, tmp_path: Path
) -> None:
    per_epoch = cut_short(cohort, short, Keep(tmp_path, "t"), after=1)[0].total // short.epochs
    seen = cut_short(cohort, short, Keep(tmp_path, "t"), after=2 * per_epoch + 4)
    told = [one.figures["epoch"] for one in seen if one.figures]
    assert told == [0.0, 1.0]
    kept = fit(cohort, short, keep=Keep(tmp_path, "t"), until_epoch=2)
    anew = fit(cohort, short, until_epoch=2)
    assert len(kept.history) == 2
    assert same(kept, anew)
    assert timeless(kept) == timeless(anew)
    assert kept.metrics["notes"] == ["It was ended after epoch 2 of 4, as asked."]
    asked_too_early = fit(cohort, short, keep=Keep(tmp_path, "t"), until_epoch=1)
    assert same(asked_too_early, kept), "what is learned is not thrown away"


@pytest.mark.parametrize("changes", [{}, {"optimiser": "sgd"}, {"n_branches": 0, "patience": None}])
def test_it_goes_on_to_the_same_bytes(
    cohort: Any, short: TrainConfig, tmp_path: Path, changes: dict[str, Any]
) -> None:
    config = short.replace(**changes)
    whole = fit(cohort, config)
    keep = Keep(tmp_path, "t")
    seen = cut_short(cohort, config, keep, after=15)  # two epochs, a report of each, a batch
    per_epoch = seen[0].total // config.epochs
    assert sum(path.suffix == ".safetensors" for path in tmp_path.iterdir()) == 1
    torch.manual_seed(99)  # another process
    again: list[Any] = []
    result = fit(cohort, config, keep=Keep(tmp_path, "t"), report=again.append)
    assert next(one.done for one in again if one.detail) > 2 * per_epoch
    assert same(result, whole)
    assert timeless(result) == timeless(whole)
    assert result.metrics == whole.metrics


def test_it_goes_on_in_either_stage_of_a_training_with_teachers(
    taught: Any, short: TrainConfig, tmp_path: Path
) -> None:
    reports: list[Any] = []
    whole = fit(taught, short, report=reports.append)
    assert "knowing" in [one.name for one in whole.checkpoint.meta.teachers]
    done = [one.done for one in reports]
    assert done == sorted(done)
    assert done[-1] == reports[-1].total
    half = reports[-1].total // 2
    assert "without teachers, epoch" in reports[2].detail
    moments = {"first": half // 2, "end of the first": half - 1, "second": half + half // 2}
    for name, moment in moments.items():
        folder = tmp_path / name
        folder.mkdir()
        cut_short(taught, short, Keep(folder, "t"), after=moment)
        again: list[Any] = []
        result = fit(taught, short, keep=Keep(folder, "t"), report=again.append)
        assert same(result, whole), name
        assert result.metrics == whole.metrics
        assert [one.done for one in again] == sorted(one.done for one in again)


def test_a_training_that_has_stopped_early_is_not_taken_further(
    planted: Any, short: TrainConfig, tmp_path: Path
) -> None:
    config = short.replace(epochs=40, patience=2)
    nothing_to_learn = planted(24, strength=0.0)
    whole = fit(nothing_to_learn, config, keep=Keep(tmp_path, "t"))
    assert len(whole.history) < 40
    again = fit(nothing_to_learn, config, keep=Keep(tmp_path, "t"))
    assert same(again, whole)
    assert again.history == whole.history, "nothing was trained again"


def test_losses_that_are_no_numbers_are_stored_and_read_as_such(
    cohort: Any, short: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A branch may fail for good while the student learns on."""
    plain = Evaluation.losses

    def losses(self: Evaluation) -> dict[str, float]:
        return plain(self) | {"branch 0": math.nan, "branch 1": math.inf}

    monkeypatch.setattr(Evaluation, "losses", losses)
    whole = fit(cohort, short)
    cut_short(cohort, short, Keep(tmp_path, "t"), after=13)
    keep = Keep(tmp_path, "t")
    keep.read()
    assert keep.saved is not None
    assert math.isnan(keep.saved.best["branch 0"]["loss"])
    assert keep.saved.best["branch 1"]["mark"] == [math.inf, 0]
    row: Any = keep.saved.history[0]
    assert math.isnan(row["inner_branch_losses"][0])
    assert same(fit(cohort, short, keep=Keep(tmp_path, "t")), whole)


def state_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "state.json").read_text()))


def change(folder: Path, **values: Any) -> None:
    (folder / "state.json").write_text(json.dumps(state_of(folder) | values))


def weights(folder: Path) -> Path:
    return folder / f"state-{state_of(folder)['slot']}.safetensors"


def retensored(folder: Path, spoil: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the stored tensors, and let the sidecar vouch for them as a stranger's would."""
    tensors = load_file(weights(folder))
    spoil(tensors)
    path = weights(folder)
    save_file(tensors, path)
    change(folder, sha256=file_sha256(path))


def flip(folder: Path) -> None:
    content = bytearray(weights(folder).read_bytes())
    content[-5] ^= 1
    weights(folder).write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "torn": lambda f: (f / "state.json").write_text('{"format": 1,'),
    "another format": lambda f: change(f, format=2),
    "another training": lambda f: change(f, training="other"),
    "another stage": lambda f: change(f, stage="third"),
    "a path out": lambda f: change(f, slot="../../x"),
    "history of nothing": lambda f: change(f, history=[]),
    "too many epochs": lambda f: change(f, history=state_of(f)["history"] * 9),
    "a foreign teacher": lambda f: change(f, teachers={"nobody": 1.0}),
    "a best part unknown": lambda f: change(
        f, best={"branch 7": {"loss": 1.0, "epoch": 0, "mark": [1.0, 0]}}
    ),
    "no mark": lambda f: change(f, best={"student": {"loss": 1.0, "epoch": 0}}),
    "one bit": flip,
    "no weights": lambda f: weights(f).unlink(),
    "other shape": lambda f: retensored(
        f, lambda t: t.update({"student.head.weight": torch.zeros(3, 3)})
    ),
    "not a number": lambda f: retensored(f, lambda t: t["student.head.weight"].fill_(np.nan)),
    "half a moment": lambda f: retensored(f, lambda t: t.pop("optimiser.0.step")),
    "unknown weights": lambda f: retensored(f, lambda t: t.update({"x": torch.zeros(1)})),
    "no generator": lambda f: retensored(f, lambda t: t["random.cpu"].fill_(7)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_state_that_is_no_good_is_set_aside_and_said(
    cohort: Any, short: TrainConfig, tmp_path: Path, damage: str
) -> None:
    config = short.replace(epochs=2)
    cut_short(cohort, config, Keep(tmp_path, "t"), after=7)
    assert (tmp_path / "state.json").is_file()
    DAMAGE[damage](tmp_path)
    seen: list[Any] = []
    result = fit(cohort, config, keep=Keep(tmp_path, "t"), report=seen.append)
    (note,) = result.metrics["notes"]
    assert "could not be used" in note
    assert "training began anew" in note
    assert same(result, fit(cohort, config))
    assert (tmp_path / "set_aside" / "state.json").is_file()
    assert [one.done for one in seen] == sorted(one.done for one in seen)


def test_a_training_that_diverges_says_so_wherever_it_was_cut_short(
    cohort: Any, short: TrainConfig, tmp_path: Path
) -> None:
    wild = short.replace(learning_rate=10.0, optimiser="sgd", branch_rate=10.0, epochs=20)
    for _ in range(2):
        with pytest.raises(DivergedError, match=r"epoch \d+: train again with a learning_rate"):
            fit(cohort, wild, keep=Keep(tmp_path, "t"))


def test_threads_are_those_that_are_asked_for_and_the_callers_stay(
    cohort: Any, short: TrainConfig
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        result = fit(cohort, short.replace(epochs=1), threads=1)
        assert result.metrics["threads"] == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
