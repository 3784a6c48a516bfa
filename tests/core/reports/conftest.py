"""Scored slides: small ones whose figures are known, and real ones of the digits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.reports import ScoredSlides

MakeScored = Callable[..., ScoredSlides]


@pytest.fixture(scope="session")
def scored() -> MakeScored:
    """Make scored slides of as many rows as there are scores; keywords replace the columns."""

    def make(rows: Any, truth: Any, /, *, task: str = "classification", **more: Any) -> Any:
        values = np.asarray(rows, dtype=np.float64)
        n, width = values.shape
        names = {
            "classification": ("normal", "tumour", "other")[:width],
            "regression": tuple(f"gene {i}" for i in range(width)),
            "survival": ("risk",),
        }
        columns = {
            "task": task,
            "target_name": "diagnosis",
            "outputs": names[task],
            "slide_ids": tuple(f"s{i}" for i in range(n)),
            "patients": tuple(f"p{i}" for i in range(n)),
            "sets": ("test",) * n,
            "scores": values,
            "targets": np.asarray(truth, dtype=np.float64),
        }
        return ScoredSlides(**{**columns, **more})

    return make


@pytest.fixture(scope="session")
def random_classes(scored: MakeScored) -> MakeScored:
    """Make n slides of random classes, whose scores know them a little."""

    def make(n: int = 60, *, n_classes: int = 2, seed: int = 0, **more: Any) -> ScoredSlides:
        rng = np.random.default_rng(seed)
        targets = np.arange(n) % n_classes
        scores = rng.normal(size=(n, n_classes)) + 1.5 * np.eye(n_classes)[targets]
        return scored(scores, targets, **more)

    return make


@pytest.fixture(scope="session")
def random_survival(scored: MakeScored) -> MakeScored:
    """Make n patients whose hazard depends on their risk."""

    def make(n: int = 60, *, seed: int = 0, **more: Any) -> ScoredSlides:
        rng = np.random.default_rng(seed)
        risk = rng.normal(size=n)
        times, lost = rng.exponential(20 * np.exp(-risk)), rng.uniform(5, 60, n)
        targets = np.stack([np.minimum(times, lost), times <= lost], axis=1)
        return scored(risk[:, None], targets, task="survival", **more)

    return make


@pytest.fixture(scope="session")
def digits(shared_data: Path) -> tuple[Any, Any, Any]:
    """Real embeddings: two views of 400 digits, and which digit each is."""
    with np.load(shared_data / "bags" / "uci_mfeat.npz") as data:
        rows = np.random.default_rng(0).permutation(len(data["y"]))[:400]
        return data["mor"][rows], data["kar"][rows], data["y"][rows].astype(int)
