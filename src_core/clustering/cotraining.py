"""The parts of co-training spectral clustering, each of which can be done once and used again.

Neighbour graphs depend on the views alone, first eigenvectors are those of fewer clusters and more,
rounds and k-means are for one number of clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch

from src_core.clustering.kmeans import group
from src_core.clustering.listed import listed_neighbours
from src_core.clustering.neighbours import nearest_neighbours
from src_core.clustering.result import Search
from src_core.clustering.spaces import Space, space_of
from src_core.clustering.spectral import leading_of_filtered, leading_of_graph, rows_of_length_one
from src_core.clustering.views import View
from src_core.progress import Stop, never
from src_core.types import Float32, Labels

__all__ = ["EXACT_UP_TO", "Graphs", "Step", "clusters_of", "co_train", "embedding_of", "graphs_of"]

EXACT_UP_TO = 5000
"""Patches whose neighbours are looked for everywhere, unless told otherwise, and in float64."""
Step: TypeAlias = Callable[[str], None]
"""Told what has been done; may raise `JobCancelled`."""


@dataclass(frozen=True, slots=True)
class Graphs:
    """Which patches are neighbours in each view that tells patches apart."""

    spaces: tuple[Space, ...]
    neighbours: tuple[torch.Tensor, ...]
    """Shapes (N, k), int64, on the device that computes."""
    left_out: tuple[int, ...]
    """Views that are the same for every patch."""
    n_patches: int

    @property
    def dtype(self) -> torch.dtype:
        """Of eigenvectors: float64 where that is cheap, and there."""
        on_cpu = all(one.device.type == "cpu" for one in self.neighbours)
        return torch.float64 if on_cpu and self.n_patches <= EXACT_UP_TO else torch.float32

    def alone(self, own: int) -> Graphs:
        """Return the graph of one of `spaces` without the others."""
        return replace(self, spaces=(self.spaces[own],), neighbours=(self.neighbours[own],))

    def first_bases(self, count: int, *, seed: int, step: Step) -> list[torch.Tensor]:
        """Return the leading eigenvectors of every graph, shapes (N, count)."""
        bases = []
        for number, graph in enumerate(self.neighbours, start=1):
            basis = leading_of_graph(graph, count, seed=seed, dtype=self.dtype)
            bases.append(basis.to(graph.device))
            step(f"eigenvectors of view {number} of {len(self.neighbours)}")
        return bases


def graphs_of(
    views: Sequence[View],
    *,
    n_neighbors: int,
    search: Search,
    scaled: bool,
    seed: int,
    device: torch.device,
    step: Step,
    stop: Stop = never,
) -> Graphs:
    """Find the neighbours of all patches in all views.

    Parameters
    ----------
    views : sequence of ndarray, shapes (N, D_i)
    n_neighbors : int
        The patch itself included; of a tiny slide one fewer than all, which would say nothing.
    search : {"auto", "exact", "listed"}
        See `MultiViewSpectralClustering`.
    scaled : bool
        Whether dimensions are brought to one variance first.
    seed : int
        Decides axes and lists.
    device : torch.device
        Where distances are computed.
    step : callable
        Told after each view.
    stop : callable
        Asked more often.
    """
    n = len(views[0])
    k = max(1, min(n_neighbors, n - 1))
    exact = search == "exact" or (search == "auto" and n <= EXACT_UP_TO)
    spaces: list[Space] = []
    neighbours: list[torch.Tensor] = []
    left_out: list[int] = []
    for number, view in enumerate(views):
        space = space_of(view, scaled=scaled, projected=not exact, seed=seed, name=f"View {number}")
        if space.is_constant:
            left_out.append(number)
        elif exact:
            found = nearest_neighbours(space.points.numpy(), k, device=device, stop=stop)
            neighbours.append(torch.from_numpy(found).to(device))
        else:
            near = listed_neighbours(space.points.to(device), k, seed=seed, stop=stop)
            neighbours.append(near.to(device))
        if not space.is_constant:
            spaces.append(space)
        step(f"neighbours in view {number + 1} of {len(views)}")
    return Graphs(tuple(spaces), tuple(neighbours), tuple(left_out), n)


def co_train(
    graphs: Graphs, bases: list[torch.Tensor], *, n_clusters: int, n_iter: int, step: Step
) -> list[torch.Tensor]:
    """Let the views filter one another's graphs, `n_iter` times; one alone has nobody to ask."""
    for turn in range(1, n_iter + 1):
        if len(bases) > 1:
            bases = [
                leading_of_filtered(
                    graph, torch.cat([*bases[:own], *bases[own + 1 :]], dim=1), n_clusters
                )
                for own, graph in enumerate(graphs.neighbours)
            ]
        step(f"round {turn} of {n_iter}")
    return bases


def clusters_of(
    graphs: Graphs,
    bases: list[torch.Tensor],
    *,
    n_clusters: int,
    n_iter: int,
    seed: int,
    step: Step,
) -> Labels:
    """Co-train from first eigenvectors and cluster what comes of it, shape (N,); see `group`."""
    bases = co_train(graphs, bases, n_clusters=n_clusters, n_iter=n_iter, step=step)
    labels, _ = group(embedding_of(bases), n_clusters, seed)
    return labels


def embedding_of(bases: Sequence[torch.Tensor]) -> Float32:
    """Return the views' eigenvectors with rows of length 1, side by side."""
    unit = torch.cat([rows_of_length_one(base) for base in bases], dim=1)
    embedding: Float32 = unit.float().cpu().numpy()
    return embedding
