"""The parts of co-training spectral clustering, each of which can be done once and used again.

Neighbour graphs depend on the views alone, first eigenvectors are those of fewer clusters and more,
rounds and k-means are for one number of clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import torch

from src_core.clustering.kmeans import group
from src_core.clustering.listed import Lists, listed_neighbours
from src_core.clustering.neighbours import nearest_neighbours
from src_core.clustering.result import Search
from src_core.clustering.spaces import Space, space_of
from src_core.clustering.spectral import leading_of_filtered, leading_of_graph, rows_of_length_one
from src_core.clustering.views import View
from src_core.devices import few_threads
from src_core.progress import Stop, never
from src_core.types import Float32, Labels

__all__ = ["EXACT_UP_TO", "Graphs", "Step", "clusters_of", "co_train", "embedding_of", "graphs_of"]

EXACT_UP_TO = 5000
"""Patches whose neighbours are looked for everywhere, unless told otherwise, and in float64."""
_ASKED_AT_ONCE = 2048

V = TypeVar("V")
T = TypeVar("T")

Step: TypeAlias = Callable[[str], None]
"""Told what has been done; may raise `JobCancelled`."""


@dataclass(frozen=True, slots=True)
class Graphs:
    """Which patches are neighbours in each view that tells patches apart."""

    lists: tuple[Lists | None, ...]
    """By which neighbours were found, None where every patch was compared with every other."""
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

    def nearest(self, view: int, asked: torch.Tensor) -> torch.Tensor:
        """Return the nearest of the patches to other points of a view, shape (M, k)."""
        points, k = self.spaces[view].points, self.neighbours[view].shape[1]
        lists = self.lists[view]
        if lists is not None:
            return lists.nearest(asked.to(lists.points.device), k)
        squares = (points**2).sum(dim=1)
        near = [
            torch.addmm(squares[None], some, points.T, alpha=-2).topk(k, largest=False).indices
            for some in asked.split(_ASKED_AT_ONCE)
        ]
        return torch.cat(near)

    def alone(self, own: int) -> Graphs:
        """Return the graph of one of `spaces` without the others."""
        return replace(
            self,
            lists=(self.lists[own],),
            spaces=(self.spaces[own],),
            neighbours=(self.neighbours[own],),
        )

    def first_bases(self, count: int, *, seed: int, step: Step) -> list[torch.Tensor]:
        """Return the leading eigenvectors of every graph, shapes (N, count)."""

        def leading(graph: torch.Tensor) -> torch.Tensor:
            basis = leading_of_graph(graph, count, seed=seed, dtype=self.dtype)
            return basis.to(graph.device)

        bases = []
        with _views_at_once(len(self.neighbours)) as each_view:
            for number, basis in enumerate(each_view(leading, self.neighbours), start=1):
                bases.append(basis)
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

    def graph(number: int) -> tuple[Lists | None, Space, torch.Tensor] | None:
        space = space_of(
            views[number], scaled=scaled, projected=not exact, seed=seed, name=f"View {number}"
        )
        if space.is_constant:
            return None
        lists = None if exact else Lists.of(space.points.to(device), seed)
        return lists, space, _neighbours(space, lists, k, device=device, stop=stop)

    told, left_out = [], []
    with _views_at_once(len(views), device) as each_view:
        for number, found in enumerate(each_view(graph, range(len(views)))):
            if found is None:
                left_out.append(number)
            else:
                told.append(found)
            step(f"neighbours in view {number + 1} of {len(views)}")
    lists, spaces, neighbours = zip(*told, strict=True) if told else ((), (), ())
    return Graphs(lists, spaces, neighbours, tuple(left_out), n)


def _neighbours(
    space: Space, lists: Lists | None, k: int, *, device: torch.device, stop: Stop
) -> torch.Tensor:
    if lists is not None:
        return listed_neighbours(lists, k, stop=stop).to(device)
    found = nearest_neighbours(space.points.numpy(), k, device=device, stop=stop)
    return torch.from_numpy(found).to(device)


def co_train(
    graphs: Graphs, bases: list[torch.Tensor], *, n_clusters: int, n_iter: int, step: Step
) -> list[torch.Tensor]:
    """Let the views filter one another's graphs, `n_iter` times; one alone has nobody to ask."""

    def leading(own: int) -> torch.Tensor:
        others = torch.cat([*bases[:own], *bases[own + 1 :]], dim=1)
        return leading_of_filtered(graphs.neighbours[own], others, n_clusters)

    with _views_at_once(len(bases), bases[0].device) as each_view:
        for turn in range(1, n_iter + 1):
            if len(bases) > 1:
                bases = list(each_view(leading, range(len(bases))))
            step(f"round {turn} of {n_iter}")
    return bases


@contextmanager
def _views_at_once(
    n_views: int, device: torch.device | None = None
) -> Iterator[Callable[[Callable[[V], T], Iterable[V]], Iterator[T]]]:
    """Give a `map` that works for several views at once.

    On the CPU every view has its share of the threads: products of a view's size gain little from
    more of them. A GPU has one thing to do at a time.
    """
    is_cpu = device is None or device.type == "cpu"
    at_once = max(1, min(n_views, torch.get_num_threads())) if is_cpu else 1
    with (
        few_threads(torch.get_num_threads() // at_once),
        ThreadPoolExecutor(max_workers=at_once) as pool,
    ):
        yield pool.map


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
