"""The nearest neighbours of very many patches: looked for in lists of near ones, not everywhere.

An inverted file (Sivic and Zisserman, ICCV 2003; Jegou et al., PAMI 2011): k-means deals the
points into small lists, and the neighbours of a list's points are looked for in the lists whose
centres are nearest to its own. The cost grows with N times the length of the lists that are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from src_core.clustering.kmeans import k_means
from src_core.progress import Report, Stop, Tracker, ignore, never
from src_core.seeding import generator

__all__ = ["Lists", "listed_neighbours"]

_LENGTH = 200
"""Points of a list on average."""
_LONGEST = 1000
"""A longer list, of patches that are nearly one, is cut."""
_READ = 12
"""Lists read for the points of one."""
_PER_CENTRE = 40
"""Points of the sample by which a centre is placed."""
_ITERATIONS = 6
_TIE = 1024 * torch.finfo(torch.float32).eps
"""Of a patch's own squared length: more than rounding makes of it, less than patches differ by."""


def listed_neighbours(
    lists: Lists, n_neighbors: int, *, report: Report = ignore, stop: Stop = never
) -> torch.Tensor:
    """Return nearly the nearest points of each point, itself first.

    Parameters
    ----------
    lists : Lists
        Of all N points; their device computes.
    n_neighbors : int
        At least 1; all N of them where N is smaller.
    report, stop : callable
        Progress over points; `stop` is asked between lists.

    Returns
    -------
    tensor of int64, shape (N, min(n_neighbors, N))
        On the CPU. Of points at equal distances any may be named.
    """
    n_points = len(lists.points)
    k = min(n_neighbors, n_points)
    out = torch.empty((n_points, k), dtype=torch.int64)
    tracker = Tracker(report, stop, stage="Finding neighbours", total=n_points, unit="patches")
    for own in range(len(lists)):
        members = lists.span(own)
        distances, rows = lists.measure(lists.points[members], own, at_least=k)
        distances.fill_diagonal_(-torch.inf)  # itself comes first: its list is read first
        nearest = distances.topk(k, largest=False).indices
        out[lists.rows[members].cpu()] = rows[nearest].cpu()
        tracker.advance(len(nearest))
    return out


@dataclass(frozen=True, slots=True)
class Lists:
    """Points in the order of their lists, and which lists are near which."""

    points: torch.Tensor
    """Shape (N, d), about `middle`."""
    middle: torch.Tensor
    """Shape (d,)."""
    squares: torch.Tensor
    """Shape (N,), squared lengths; a little more the later the point."""
    rows: torch.Tensor
    """Shape (N,), where each point stood."""
    bounds: list[int]
    """Where the lists begin, and N."""
    centres: torch.Tensor
    """Shape (lists, d), the means of their points."""
    order: list[list[int]]
    """Of each list the others by nearness of their centres, itself first; not all of them."""

    @classmethod
    def of(cls, points: torch.Tensor, seed: int) -> Lists:
        """Deal points, shape (N, d), float32, into lists; one seed gives the same lists."""
        middle = points.mean(dim=0)
        centred = points - middle  # distances do not feel it, rounding does
        order, bounds = _dealt(centred, _centres(centred, seed))
        ordered = centred[order]
        centres = torch.stack([ordered[a:b].mean(dim=0) for a, b in pairwise(bounds)])
        apart = torch.cdist(centres, centres)
        apart.fill_diagonal_(-1.0)
        near = apart.argsort(dim=1, stable=True)[:, : 4 * _READ].tolist()
        squares = (ordered**2).sum(dim=1)
        # Of patches that are one but for rounding the first ones are named, by all of them: else
        # copies would fall apart into pieces that know nothing of each other.
        squares *= 1 + _TIE * (order / len(order))
        return cls(ordered, middle, squares, order, bounds, centres, near)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def span(self, number: int) -> slice:
        """Return where the points of a list are."""
        return slice(self.bounds[number], self.bounds[number + 1])

    def measure(
        self, asked: torch.Tensor, number: int, *, at_least: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return distances to the points of a list and of those near it, and these points' rows.

        Parameters
        ----------
        asked : tensor, shape (M, d)
            About `middle`.
        number : int
            The list whose centre is nearest to them.
        at_least : int
            Points wanted.

        Returns
        -------
        distances : tensor, shape (M, m)
            Squared, but for what is the same in a row.
        rows : tensor of int64, shape (m,)
        """
        read = self._near(number, at_least=at_least)
        candidates = torch.cat([self.points[one] for one in read])  # (m, d)
        squares = torch.cat([self.squares[one] for one in read])
        rows = torch.cat([self.rows[one] for one in read])
        return torch.addmm(squares[None], asked, candidates.T, alpha=-2), rows

    def nearest(self, asked: torch.Tensor, n_neighbors: int) -> torch.Tensor:
        """Return nearly the nearest points of others, shapes (M, d) to (M, min(n_neighbors, N))."""
        k = min(n_neighbors, len(self.points))
        about = asked - self.middle
        squares = (self.centres**2).sum(dim=1)
        own = torch.addmm(squares[None], about, self.centres.T, alpha=-2).argmin(dim=1)
        out = torch.empty((len(asked), k), dtype=torch.int64)
        order = torch.argsort(own, stable=True)
        numbers, counts = torch.unique_consecutive(own[order], return_counts=True)
        for number, some in zip(numbers.tolist(), order.split(counts.tolist()), strict=True):
            distances, rows = self.measure(about[some], number, at_least=k)
            out[some.cpu()] = rows[distances.topk(k, largest=False).indices].cpu()
        return out

    def _near(self, number: int, *, at_least: int) -> list[slice]:
        """Return the lists to read for one, itself first; more if they hold too few points."""
        read: list[slice] = []
        held = 0
        for other in self.order[number]:
            if len(read) >= _READ and held >= at_least:
                break
            read.append(self.span(other))
            held += read[-1].stop - read[-1].start
        if held >= at_least:
            return read
        others = (self.span(other) for other in range(len(self)) if other != number)
        return [self.span(number), *others]


def _centres(points: torch.Tensor, seed: int) -> torch.Tensor:
    """Return centres of lists by a few rounds of k-means on a sample, shape (lists, d)."""
    n_lists = max(1, len(points) // _LENGTH)
    size = min(len(points), _PER_CENTRE * n_lists)
    rows = generator(seed, "lists").choice(len(points), size, replace=False)
    sample = points[torch.from_numpy(np.sort(rows)).to(points.device)].cpu().numpy()
    model = k_means(
        sample,
        n_lists,
        init="random",
        n_init=1,
        max_iter=_ITERATIONS,
        random_state=seed % 2**32,
    )
    return torch.from_numpy(model.cluster_centers_).to(points)


def _dealt(points: torch.Tensor, centres: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
    """Return the points' rows by list, and where the lists begin."""
    squares = (centres**2).sum(dim=1)
    labels = torch.cat(
        [torch.addmm(squares[None], some, centres.T, alpha=-2).argmin(dim=1)
         for some in points.split(8192)]
    )  # fmt: skip
    order = torch.argsort(labels, stable=True)
    sizes = torch.bincount(labels, minlength=len(centres)).tolist()
    bounds, start = [0], 0
    for size in sizes:
        pieces = -(-size // _LONGEST)
        if pieces > 1:  # neighbouring pieces of a long list lie side by side along its longest axis
            members = order[start : start + size]
            axis = points[members].var(dim=0).argmax()
            order[start : start + size] = members[points[members, axis].argsort(stable=True)]
        bounds += [start + size * piece // pieces for piece in range(1, pieces + 1)]
        start += size
    return order, bounds
