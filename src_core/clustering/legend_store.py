"""The legend of a clustering on disk: names, colours and merges, and how they are taken back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from src_core.clustering.legend import Legend
from src_core.errors import ProjectError
from src_core.locking import locked
from src_core.provenance import MAX_JSON_BYTES, read_json, write_json
from src_core.types import Labels

__all__ = ["LegendStore", "clusters_digest"]

_MOST_UNDONE = 50
"""Edits that can be taken back."""


class LegendStore:
    """The legend of one clustering on disk, with its last edits, which can be taken back.

    Parameters
    ----------
    path : Path
        The file; it need not exist yet.
    n_clusters : int
        Of the clustering.
    of : str
        Stands for exactly those clusters: names of others are not taken for theirs.
    """

    def __init__(self, path: Path, *, n_clusters: int, of: str) -> None:
        self.path = path
        self._n_clusters, self._of = n_clusters, of

    def current(self) -> Legend:
        """Return the legend in force; the usual one if nobody has edited it.

        Raises
        ------
        ProjectError
            If the file is damaged, or of other clusters.
        """
        return self._read()[-1]

    def can_undo(self) -> bool:
        """Tell whether an edit can be taken back.

        Raises
        ------
        ProjectError
            If the file is damaged, or of other clusters.
        """
        return len(self._read()) > 1

    def edit(self, change: Callable[[Legend], Legend]) -> Legend:
        """Change the legend and return it; on disk when this returns.

        Parameters
        ----------
        change : callable
            From the legend in force to the new one.

        Raises
        ------
        ConfigError
            What `change` raises.
        ProjectError
            If the file is damaged, of other clusters, or cannot be written.
        """
        with locked(self.path.parent):
            legends = self._read()
            after = change(legends[-1])
            if after != legends[-1]:
                self._write([*legends, after])
        return after

    def undo(self) -> Legend | None:
        """Take the last edit back and return the legend of before; None if there is none.

        Raises
        ------
        ProjectError
            If the file is damaged, of other clusters, or cannot be written.
        """
        with locked(self.path.parent):
            legends = self._read()[:-1]
            if not legends:
                return None
            self._write(legends)
        return legends[-1]

    def _read(self) -> list[Legend]:
        """Return the legends of before, the oldest first, and the one in force."""
        if not self.path.is_file():
            return [Legend(n_clusters=self._n_clusters)]
        values = read_json(self.path)
        if (values.get("of"), values.get("n_clusters")) != (self._of, self._n_clusters):
            raise ProjectError(
                f"{self.path} names other clusters than those that are stored now; remove it, and "
                "name them again."
            )
        stored = values.get("legends")
        if not isinstance(stored, list) or not 0 < len(stored) <= _MOST_UNDONE + 1:
            raise ProjectError(f"{self.path} is damaged; restore or remove it.")
        try:
            return [Legend.from_dict(one, self._n_clusters) for one in stored]
        except ValueError as error:
            raise ProjectError(
                f"{self.path} is damaged ({error}); restore or remove it."
            ) from error

    def _write(self, legends: Sequence[Legend]) -> None:
        stored = [legend.to_dict() for legend in legends[-_MOST_UNDONE - 1 :]]
        # A thousand clusters with long names: fewer edits can be taken back then.
        while len(stored) > 1 and len(json.dumps(stored, indent=1)) > MAX_JSON_BYTES // 2:
            stored = stored[1:]
        head = {"of": self._of, "n_clusters": self._n_clusters}
        write_json(self.path, {**head, "legends": stored})


def clusters_digest(labels: Labels) -> str:
    """Return 16 hexadecimal digits that stand for exactly these clusters."""
    stored = np.ascontiguousarray(labels, dtype="<i4")
    return hashlib.sha256(stored.tobytes()).hexdigest()[:16]
