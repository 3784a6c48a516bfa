"""What a slide's prediction becomes without some of its patches; read and written without torch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from src_core import RESEARCH_USE
from src_core.errors import ProjectError
from src_core.inference.prediction import Prediction
from src_core.models.operating_point import INDETERMINATE
from src_core.patches.rows import are_written_rows, rows_digest
from src_core.plain_text import one_line
from src_core.provenance import MAX_JSON_BYTES, read_json, write_json
from src_core.types import Json

__all__ = ["Explanation", "Outcome"]

_VERSION = 2
"""The first version, which is read too, knew nothing of patches that were chosen by hand."""
_MOST = 10_000
"""Sets of patches in a file: more clusters than that no slide has."""
_MOST_SETS = 50
"""Sets that are kept besides single clusters, the newest: who asks goes on asking."""
_LONGEST_NAME = 300
_LARGEST = 1e100
"""Of numbers: what comes of larger ones is none."""
_MOST_COUNTED = 10**9
_MOST_SEED = 2**64
_CLUSTERS = re.compile(r"clusters? (\d{1,9}(?:, \d{1,9})*)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A prediction of what is left of a slide."""

    name: str
    """What is left out, such as ``cluster 7``; empty for nothing."""
    n_patches: int
    """Patches that are left out."""
    values: tuple[float, ...]
    """Of each output: the probability of a class, or the value, or the log-hazard."""
    call: str
    """The class called, or ``"indeterminate"``; empty where there are no classes."""
    change: tuple[float, ...]
    """`values` less those of the whole slide."""
    spread: tuple[float, ...]
    """Standard deviation of the change over patch selections."""
    patches: tuple[str, ...] = ()
    """Rows of the grid that were left out, see :func:`src_core.patches.rows.read_rows`; empty
    where clusters were, which the name tells."""

    @property
    def clusters(self) -> tuple[int, ...]:
        """Numbers of the clusters that are left out; none where it is more than a few clusters."""
        found = None if self.patches else _CLUSTERS.fullmatch(self.name)
        return tuple(map(int, found[1].split(", "))) if found else ()

    @property
    def key(self) -> str:
        """Stands for what is left out: by the rows themselves where the name may not tell them."""
        return rows_digest(self.patches) if self.patches else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A slide's prediction, and what it becomes without each of several sets of patches."""

    slide_id: str
    classes: tuple[str, ...]
    """Names of the outputs."""
    whole: Outcome
    """With nothing left out: the prediction itself."""
    without: tuple[Outcome, ...]
    """Those that were asked for last come first."""
    n_bags: int
    """Patch selections over which the changes were taken."""
    seed: int
    grid_id: str = ""
    run_id: str = ""
    edits_id: str = ""
    """Stands for the patches excluded and pinned by hand; see `SelectionEdits`."""

    def by_weight(self) -> tuple[Outcome, ...]:
        """Return the sets of patches, first the one whose absence changes most."""
        return tuple(sorted(self.without, key=lambda one: -max(map(abs, one.change), default=0.0)))

    def of(self, *, grid_id: str, run_id: str) -> Self:
        """Return it with the grid and the run that it is of."""
        return replace(self, grid_id=grid_id, run_id=run_id)

    def beside(self, before: Self) -> Self:
        """Return it with the sets of patches that were asked for before, if of this prediction.

        A set that was asked for again is there once, and of those that are no single cluster only
        the last 50 are.
        """
        same = ("slide_id", "classes", "n_bags", "seed", "grid_id", "run_id", "edits_id")
        is_same = all(getattr(self, name) == getattr(before, name) for name in same)
        # Scored in another company of bags, a prediction differs in its last digits.
        if not is_same or not np.allclose(self.whole.values, before.whole.values, rtol=1e-4):
            return self
        every = _each_once((*self.without, *before.without))
        sets = [one.key for one in every if len(one.clusters) != 1]
        gone = set(sets[max(_MOST_SETS, len(self.without)) :])
        return replace(self, without=tuple(one for one in every if one.key not in gone)[:_MOST])

    def held_to(self, prediction: Prediction) -> Self:
        """Return what of it can be so on a slide with this prediction; the rest is left out.

        Raises
        ------
        ProjectError
            If it is of other outputs.
        """
        n_patches, is_odds = len(prediction.attention), prediction.has_classes
        if self.classes != prediction.classes or (is_odds and not _are_odds(self.whole)):
            raise ProjectError(
                f"What the prediction of {prediction.slide_id!r} becomes without some patches is "
                "of other outputs than it has; explain the slide again."
            )
        without = tuple(
            one
            for one in self.without
            if one.n_patches <= n_patches
            and are_written_rows(one.patches, n_patches)
            and (_are_odds(one) or not is_odds)
        )
        return replace(self, without=without)

    def to_dict(self) -> dict[str, Json]:
        """Return JSON values."""
        values = asdict(self)
        lists = {"classes": list(self.classes), "without": list(values["without"])}
        return {"format": _VERSION, **values, **lists, "use": RESEARCH_USE}

    def save(self, path: Path) -> None:
        """Write a JSON file, whole or not at all.

        Sets for which a file that is read again has no room are left out, those that were asked
        for long ago first.
        """
        values = replace(self, without=()).to_dict()
        room = MAX_JSON_BYTES - _n_bytes(values)
        kept = []
        for one in self.without:
            size = _n_bytes({"without": [asdict(one)]})
            if size <= room:
                room -= size
                kept.append(asdict(one))
        write_json(path, {**values, "without": kept})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote, trusting nothing; names are cleaned again.

        Raises
        ------
        ProjectError
            If the file is missing, damaged or of another version.
        """
        stored = read_json(path)
        damaged = ProjectError(f"{path} is damaged; explain the slide again.")
        if stored.get("format") not in (1, _VERSION):
            raise ProjectError(
                f"{path} has format {str(stored.get('format'))[:50]!r}, this program reads "
                f"{_VERSION}; explain the slide again."
            )
        names = {one.name for one in fields(cls)}
        given = {key: value for key, value in stored.items() if key in names}
        outcomes = [given.get("whole"), *_listed(given.get("without"))]
        kinds = {"n_bags": int, "seed": int, "whole": dict, "without": list, "classes": list}
        if set(given) != names or len(outcomes) > _MOST:
            raise damaged
        if not all(type(given[key]) is kinds.get(key, str) for key in names):
            raise damaged
        if not (0 < given["n_bags"] <= _MOST_COUNTED and abs(given["seed"]) < _MOST_SEED):
            raise damaged
        classes = given["classes"]
        if not classes or not all(isinstance(one, str) for one in classes):
            raise damaged
        if not all(_is_outcome(one, classes) for one in outcomes):
            raise damaged
        whole, *without = (_outcome(one) for one in outcomes)
        lists = {"classes": tuple(classes), "without": _each_once(without)}
        return cls(**{**given, **lists, "whole": whole})


_NUMBERS = ("values", "change", "spread")


def _outcome(values: dict[str, Any]) -> Outcome:
    lists = {key: tuple(values[key]) for key in (*_NUMBERS, "patches") if key in values}
    return Outcome(**{**values, **lists, "name": one_line(values["name"], _LONGEST_NAME)})


def _is_outcome(values: Any, classes: list[str]) -> bool:
    names = {one.name for one in fields(Outcome)}
    if not isinstance(values, dict) or {*values, "patches"} != names:
        return False
    return (
        isinstance(values["name"], str)
        and values["call"] in ("", INDETERMINATE, *classes)
        and type(values["n_patches"]) is int
        and 0 <= values["n_patches"] <= _MOST_COUNTED
        and isinstance(values.get("patches", []), list)
        and all(isinstance(rows, str) for rows in values.get("patches", []))
        and all(
            len(_listed(values[key])) == len(classes)
            and all(isinstance(number, float) and abs(number) < _LARGEST for number in values[key])
            for key in _NUMBERS
        )
    )


def _are_odds(one: Outcome) -> bool:
    """Tell whether values are probabilities, changes such as these have, and spreads."""
    return (
        all(0 <= value <= 1 for value in one.values)
        and all(abs(change) <= 1 for change in one.change)
        and all(0 <= spread <= 1 for spread in one.spread)
    )


def _each_once(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """Return sets of patches without those that were there before."""
    found: dict[str, Outcome] = {}
    for one in outcomes:
        found.setdefault(one.key, one)
    return tuple(found.values())


def _n_bytes(values: dict[str, Any]) -> int:
    """Return how long values are in a file, at most."""
    return len(json.dumps(values, indent=1)) + 1


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
