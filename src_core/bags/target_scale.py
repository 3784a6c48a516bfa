"""Regression targets brought to one scale, so that none outweighs another in the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from src_core.bags.cohort import Cohort
from src_core.types import Float64

__all__ = ["TargetScale"]


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
        values = np.asarray(cohort.unit_targets, dtype=np.float64)
        cohort.label_set.require_varied(values)
        known = [column[np.isfinite(column)] for column in values.T]
        return cls(
            mean=tuple(float(column.mean()) for column in known),
            std=tuple(float(column.std()) for column in known),
        )

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
