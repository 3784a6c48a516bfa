"""Regression targets brought to one scale, so that none outweighs another in the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from src_core.bags.cohort import Cohort
from src_core.errors import ProjectError
from src_core.types import Float64

__all__ = ["TargetScale"]

_CONSTANT = 1e-9
"""What varies less than this share of its largest value does not vary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetScale:
    """Mean and standard deviation of each target; empty where targets stay as they are."""

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @classmethod
    def of(cls, cohort: Cohort) -> Self:
        """Measure the known values of the slides that are learned from, or of their patients.

        Raises
        ------
        ProjectError
            If a target is constant or known of one alone.
        """
        if cohort.task != "regression":
            return cls()
        values = cohort.unit_targets
        means, stds = [], []
        for column, name in zip(values.T, cohort.classes, strict=True):
            known = column[np.isfinite(column)]
            spread = float(known.std()) if len(known) else 0.0
            if len(known) < 2 or spread <= _CONSTANT * float(np.abs(known).max()):
                raise ProjectError(
                    f"All {len(known)} {cohort.per}s to learn from have the same {name}; training "
                    "needs different values of it: add slides or leave the target out."
                )
            means.append(float(known.mean()))
            stds.append(spread)
        return cls(mean=tuple(means), std=tuple(stds))

    def apply(self, cohort: Cohort) -> Cohort:
        """Return the cohort with its values in standard deviations from the mean."""
        if not self.std:
            return cohort
        return cohort.with_values((cohort.values - self.mean) / self.std)

    @property
    def origin(self) -> Float64:
        """What a model would say that had learned the means only, shape (C,), or (1,) of 0."""
        return np.array(self.mean or (0.0,), dtype=np.float64)

    def in_units(self, outputs: Float64) -> Float64:
        """Return outputs of a model that learned from `apply`, (..., C), in the table's unit.

        Logits and log-hazards have none and stay as they are.
        """
        return self.sizes_in_units(outputs) + self.origin if self.std else outputs

    def sizes_in_units(self, parts: Float64) -> Float64:
        """Return parts or differences of outputs, (..., C), in the table's unit."""
        return np.asarray(parts * self.std, dtype=np.float64) if self.std else parts
