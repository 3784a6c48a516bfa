"""How far two reviewers agree about the patches that both have marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src_core.patches.grid import PatchGrid
from src_core.review.marks import MarkStore
from src_core.review.meanings import plain_label
from src_core.review.raster import label_numbers

__all__ = ["Concordance", "LabelConcordance", "labels_by", "measure_concordance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelConcordance:
    """What two reviewers have called by one label, of the patches that both have marked."""

    label: str
    first: int
    second: int
    both: int

    @property
    def agreement(self) -> float:
        """Share of the calls that the other reviewer made too: 2 both / (first + second)."""
        return 2 * self.both / (self.first + self.second)


@dataclass(frozen=True, slots=True, kw_only=True)
class Concordance:
    """What two reviewers have in common."""

    n_first: int
    """Patches that the first has marked, whatever the second has."""
    n_second: int
    n_both: int
    """Patches that both have marked; what follows is of these alone."""
    n_same: int
    kappa: float | None
    """Cohen's; None where chance alone would make them agree always, or nothing is marked twice."""
    labels: tuple[LabelConcordance, ...]
    """By name."""

    @property
    def agreement(self) -> float | None:
        """Share of the patches that both call the same; None without any."""
        return self.n_same / self.n_both if self.n_both else None


def labels_by(store: MarkStore, reviewer: str, grid: PatchGrid) -> list[str]:
    """Return what a reviewer calls each patch of a grid, ``""`` where nothing was said.

    Capitals and spaces are made alike, for they make no other label.

    Parameters
    ----------
    store : MarkStore
        Of the slide.
    reviewer : str
        Whose marks; those of others on the same squares do not count.
    grid : PatchGrid
        Whose patches; the mark at the middle of each holds.
    """
    marks = store.current(reviewer=reviewer)
    names = tuple(dict.fromkeys(mark.label for mark in marks))
    told = ["", *map(plain_label, names)]
    return [told[number] for number in label_numbers(grid, marks, names).tolist()]


def measure_concordance(first: Sequence[str], second: Sequence[str]) -> Concordance:
    """Compare what two reviewers call the same patches.

    Parameters
    ----------
    first, second : sequence of str, length N
        A label for each patch, ``""`` where the reviewer has said nothing.

    Notes
    -----
    The agreement about a label is the proportion of specific agreement (Fleiss, Statistical
    Methods for Rates and Proportions). A patch that one alone has marked counts for neither.

    Examples
    --------
    >>> found = measure_concordance(["a", "a", "b", ""], ["a", "b", "b", "b"])
    >>> found.n_both, found.n_same, round(found.kappa, 2)
    (3, 2, 0.4)
    """
    ours, theirs = np.array(first, dtype=np.str_), np.array(second, dtype=np.str_)
    both = (ours != "") & (theirs != "")
    ours_both, theirs_both = ours[both], theirs[both]
    same = ours_both == theirs_both
    names = sorted({*ours_both.tolist(), *theirs_both.tolist()})
    return Concordance(
        n_first=int((ours != "").sum()),
        n_second=int((theirs != "").sum()),
        n_both=len(same),
        n_same=int(same.sum()),
        kappa=_kappa(ours_both.tolist(), theirs_both.tolist()) if len(names) > 1 else None,
        labels=tuple(
            LabelConcordance(
                label=name,
                first=int((ours_both == name).sum()),
                second=int((theirs_both == name).sum()),
                both=int((same & (ours_both == name)).sum()),
            )
            for name in names
        ),
    )


def _kappa(first: list[str], second: list[str]) -> float:
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(first, second))
