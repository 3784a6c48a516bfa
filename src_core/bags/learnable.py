"""Whether labels can be learned from and divided by patient, told before anything else is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src_core.bags.splits import quantile_strata, split_holdout
from src_core.errors import ProjectError
from src_core.types import Float64, Int64, Level, Task
from src_core.wording import counted

__all__ = ["LabelSet", "is_varied"]

_FEWEST_IN_QUANTILE = 5
_CONSTANT = 1e-9
"""What varies less than this share of its largest value does not vary."""


def is_varied(known: Float64) -> bool:
    """Tell whether there are two or more values and they are not all the same.

    Parameters
    ----------
    known : ndarray of float64, shape (n,)
        Without NaN.
    """
    return len(known) > 1 and float(known.std()) > _CONSTANT * float(np.abs(known).max())


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSet:
    """The labels of some slides, without the slides."""

    name: str
    """What is learned, as runs call it."""
    task: Task
    per: Level
    outputs: tuple[str, ...]
    """Names of the classes, or of the values."""
    patients: tuple[str, ...]
    """Patient of each slide."""
    targets: Int64
    """Class of each slide, shape (n_slides,); -1 where the task knows none."""
    values: Float64
    """Values of each slide, shape (n_slides, n); empty for a classification."""

    def strata(self, fewest: int) -> list[str]:
        """Return what splits hold in proportion: a class, an event or none, a quarter of values.

        Parameters
        ----------
        fewest : int
            Patients that each stratum needs. The censored are no stratum of their own if there
            are fewer.

        Raises
        ------
        ProjectError
            If too few patients have an event, or a value.
        """
        if self.task == "classification":
            return [self.outputs[target] for target in self.targets]
        if self.task == "survival":
            return self._by_event(fewest)
        self._require_patients(len(set(self.patients)), "a value", fewest)
        least = max(fewest, _FEWEST_IN_QUANTILE)
        return quantile_strata(self.patients, self.values[:, 0], fewest=least)

    def hold_out(self, fraction: float, *, seed: int) -> tuple[Int64, Int64]:
        """Return (kept, held back) rows: a share of each stratum's patients is held back.

        Raises
        ------
        ProjectError
            If a stratum has a single patient.
        """
        return split_holdout(self.patients, self.strata(2), fraction=fraction, seed=seed)

    def require_learnable(self) -> None:
        """Raise `ProjectError` unless there is something to tell apart.

        That is slides of two classes and of every class, an event, or values that differ.
        """
        if self.task == "classification":
            self._require_classes()
        elif self.task == "regression":
            self.require_varied(self.unit_values)
        elif not self.values[:, 1].any():
            raise ProjectError(
                f"Nobody of {len(set(self.patients))} patients has an event ({self.name}): there "
                "is nothing to learn survival from; add patients with an event."
            )

    def require_varied(self, values: Float64) -> None:
        """Raise `ProjectError` if a regression target is constant or known of one alone.

        Parameters
        ----------
        values : ndarray of float64, shape (n, n_outputs)
            Of the slides or patients that are learned from; NaN where unknown.
        """
        for column, name in zip(values.T, self.outputs, strict=True):
            known = column[np.isfinite(column)]
            if is_varied(known):
                continue
            raise ProjectError(
                f"{name} is known of only {counted(len(known), self.per)} to learn from; training "
                "needs two that differ: add slides of which it is known, or leave the target out."
                if len(known) < 2
                else f"All {len(known)} {self.per}s to learn from have the same {name}; training "
                "needs different values of it: add slides or leave the target out."
            )

    @property
    def unit_values(self) -> Float64:
        """Values of each slide, or once of each patient where they are the patients'."""
        if self.per == "slide":
            return self.values
        place: dict[str, int] = {}
        for row, patient in enumerate(self.patients):
            place.setdefault(patient, row)
        return self.values[list(place.values())]

    def subset(self, rows: Sequence[int] | Int64) -> LabelSet:
        """Return the labels of some of the slides."""
        return LabelSet(
            name=self.name,
            task=self.task,
            per=self.per,
            outputs=self.outputs,
            patients=tuple(self.patients[row] for row in rows),
            targets=self.targets[list(rows)],
            values=self.values[list(rows)],
        )

    def _require_classes(self) -> None:
        there = set(self.targets.tolist())
        if len(there) < 2:
            raise ProjectError(
                f"All slides have the same {self.name}; training needs slides of two classes."
            )
        missing = [name for row, name in enumerate(self.outputs) if row not in there]
        if missing:
            raise ProjectError(
                f"No slide of class {missing[0]!r} is there to learn from; add some, or leave the "
                f"{self.name} of its slides empty."
            )

    def _by_event(self, fewest: int) -> list[str]:
        happened = self.values[:, 1].astype(np.bool_).tolist()
        event = dict(zip(self.patients, happened, strict=True))
        self._require_patients(sum(event.values()), "an event", fewest)
        apart = len(event) - sum(event.values()) >= fewest
        return ["event" if event[name] or not apart else "censored" for name in self.patients]

    def _require_patients(self, count: int, what: str, fewest: int) -> None:
        if count < fewest:
            raise ProjectError(
                f"{self.name}: {counted(count, 'patient has', 'patients have')} {what} and a split "
                f"by patient needs {fewest}; add slides of other patients."
            )
