"""Neighbour graphs as tests of what follows them need them."""

from __future__ import annotations

from typing import Any

import torch

from src_core.clustering.cotraining import Graphs, graphs_of


def quick_graphs(views: Any, search: Any = "auto", *, seed: int = 0) -> Graphs:
    """Return the graphs of standardised views, on the CPU."""
    return graphs_of(
        views,
        n_neighbors=10,
        search=search,
        scaled=True,
        seed=seed,
        device=torch.device("cpu"),
        step=lambda _: None,
    )
