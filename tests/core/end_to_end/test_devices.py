"""The whole way on each device, from embedding to what-if, beside what the CPU comes to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from src_core.devices import autocast
from src_core.provenance import read_json
from tests.core.cohort_files import write_cohort
from tests.core.end_to_end.conftest import Run

pytestmark = pytest.mark.slow

DEVICES = (
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
        ],
    ),
    pytest.param(
        "mps",
        marks=pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no Apple GPU"),
    ),
)

OFF = 0.1
"""A model that half precision has trained has other weights: how far its probability may be off."""

N = 8


@dataclass(frozen=True)
class Went:
    """What came of going the whole way."""

    root: Path
    predicted: dict[str, float]
    """Probability of a tumour, by slide."""
    explained: dict[str, Any]


def go(run: Run, folder: Path, device: str) -> Went:
    """Take slides of normal tissue, and as many with nodules, the whole way on a device."""
    labels = ("normal", "tumour") * (N // 2)
    table = write_cohort(folder, (0.0, 0.4) * (N // 2), side_px=640, label=labels)
    root = folder / "project"
    asked: dict[str, Any] = {"project": root, "device": device}
    settings = ["grid.patch_px=128", "clustering.n_per_cluster=2", "training.epochs=4"]
    run("prepare", **asked, labels=table, encoders=["lite0"], set=settings)
    run("cluster", **asked, n_clusters=2)
    run("train", **asked)
    predicted = run("predict", **asked)
    assert predicted["failures"] == []
    chances = {name: one["tumour"] for name, one in predicted["probabilities"].items()}
    explained = run("explain", **asked, slides=["s1"], bags=2)["explanations"]["s1"]
    return Went(root, chances, explained)


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Went:
    return go(run, tmp_path_factory.mktemp("cpu"), "cpu")


def check_whole_way(went: Went, device: str) -> None:
    """Check what must hold on every device by itself."""
    noted = read_json(went.root / "runs" / "run-0001" / "config.json")
    assert noted["training"]["device"] == device
    assert len(went.predicted) == N
    normal, tumour = (
        [went.predicted[f"s{number}"] for number in range(start, N, 2)] for start in (0, 1)
    )
    assert max(normal) < 0.5 < min(tumour), "else their being alike shows nothing"
    whole, without = went.explained["whole"], went.explained["without"]
    assert whole["values"][1] == pytest.approx(went.predicted["s1"], abs=OFF)
    assert min(one["change"][1] for one in without) < -0.05, "without the nodule it is less sure"


def test_the_cpu_goes_the_whole_way(on_cpu: Went) -> None:
    check_whole_way(on_cpu, "cpu")


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_comes_to_what_the_cpu_comes_to(
    device: str, on_cpu: Went, run: Run, tmp_path: Path
) -> None:
    went = go(run, tmp_path, device)
    check_whole_way(went, device)
    with autocast(torch.device(device)):
        ones = torch.ones(2, 2, device=device)
        assert ((ones @ ones).dtype != torch.float32) == (device == "cuda"), "what it trains in"
    assert went.predicted == pytest.approx(on_cpu.predicted, abs=OFF)

    # Whoever is given the model and has no such device is told the same.
    here = run("predict", project=went.root, device="cpu", slides=["s0", "s1"])["probabilities"]
    again = {name: one["tumour"] for name, one in here.items()}
    assert again == pytest.approx({name: went.predicted[name] for name in again}, abs=0.02)
