"""What a person has changed about a slide's selections: patches out of every bag, or in all."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Self

import numpy as np

from src_core.errors import GridMismatchError, TooFewPatchesError
from src_core.types import BoolArray, Int64, Json, Labels

__all__ = ["SelectionEdits"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SelectionEdits:
    """The edits in force on the patches of a grid, in the order of its rows."""

    excluded: BoolArray
    """Shape (N,): in no bag, so in no map either."""
    pinned: BoolArray
    """Shape (N,): in every bag as far as they fit; see `select_bags`."""

    def __post_init__(self) -> None:
        """Check that no patch is both."""
        if self.excluded.shape != self.pinned.shape or (self.excluded & self.pinned).any():
            raise ValueError("each patch is excluded, pinned, or neither")

    @classmethod
    def none(cls, n_patches: int) -> Self:
        """Return the edits of a slide that nobody has edited."""
        nobody = np.zeros(n_patches, np.bool_)
        return cls(excluded=nobody, pinned=nobody)

    def __bool__(self) -> bool:
        return bool(self.excluded.any() or self.pinned.any())

    @property
    def n_excluded(self) -> int:
        """Number of excluded patches."""
        return int(self.excluded.sum())

    @property
    def n_pinned(self) -> int:
        """Number of pinned patches."""
        return int(self.pinned.sum())

    @property
    def edits_id(self) -> str:
        """Name of the edits: equal for the same edits of the same grid; empty for none."""
        if not self:
            return ""
        bits = np.packbits(np.concatenate([self.excluded, self.pinned]))
        return hashlib.sha256(bits.tobytes()).hexdigest()[:16]

    def applied(self, labels: Labels, *, slide_id: str = "") -> Labels:
        """Return the clusters that bags are drawn from: excluded patches have none.

        A cluster whose patches are all excluded is no more, and the slide's bags are shorter.

        Raises
        ------
        GridMismatchError
            If the clusters are of other patches.
        TooFewPatchesError
            If nothing is left.
        """
        if labels.shape != self.excluded.shape:
            raise GridMismatchError(
                f"Slide {slide_id}: {len(self.excluded)} patches could be excluded or pinned, "
                f"{len(labels)} are clustered; cluster the slide again."
            )
        if not self.excluded.any():
            return labels
        left: Labels = np.where(self.excluded, np.int32(-1), labels)
        if left.max(initial=-1) < 0 <= labels.max(initial=-1):
            raise TooFewPatchesError(
                f"All clustered patches of slide {slide_id!r} are excluded from its selections; "
                "include some of them again (3 Cluster in the window)."
            )
        return left

    def full_clusters(self, labels: Labels, n_per_cluster: int) -> Int64:
        """Return the clusters whose pinned patches leave no slot in a bag to their others."""
        inside = labels >= 0
        pins = np.bincount(labels[inside & self.pinned], minlength=labels.max(initial=-1) + 1)
        others = labels[inside & ~self.pinned & ~self.excluded]
        full = np.flatnonzero(pins >= n_per_cluster)
        return full[np.isin(full, others)]

    def notes(self, unseen: int) -> tuple[str, ...]:
        """Return sentences for whoever reads what was made from the edited selections.

        Parameters
        ----------
        unseen : int
            Patches that nobody excluded and that no bag had a slot for.
        """
        parts = []
        for count, what in ((self.n_excluded, "excluded from"), (self.n_pinned, "pinned into")):
            if count:
                parts.append(f"{count} {'patch was' if count == 1 else 'patches were'} {what}")
        said = [f"By hand, {' and '.join(parts)} the patch selections."] if parts else []
        if unseen:
            said.append(
                f"{unseen} more {'patch is' if unseen == 1 else 'patches are'} in no map: the "
                "pinned ones take all places of their clusters."
            )
        return tuple(said)

    def to_dict(self) -> dict[str, Json]:
        """Return the numbers as JSON values, for whatever is made from the edited selections."""
        return {"excluded": self.n_excluded, "pinned": self.n_pinned}
