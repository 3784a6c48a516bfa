"""Where a risk lies among those of the patients that a survival model learned from."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np

from src_core.errors import CheckpointError
from src_core.types import Float64, Json

__all__ = ["LearnedRisks"]

_MOST_VALUES = 101
_MOST_PATIENTS = 10**9
_LARGEST = 1e30


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedRisks:
    """Log-hazards of the patients that were learned from, without saying whose each is.

    Raises
    ------
    CheckpointError
        When it is made, if no training could have given it: a checkpoint may come from anywhere.
    """

    n: int
    """Patients."""
    values: tuple[float, ...]
    """Rising: of each of up to 101 patients; of more the 101 percentiles from 0 to 100."""

    def __post_init__(self) -> None:
        """Check count, order and size."""
        is_count = type(self.n) is int and 1 <= self.n <= _MOST_PATIENTS
        if not is_count or len(self.values) != min(self.n, _MOST_VALUES):
            raise CheckpointError("The checkpoint's risks are not of as many patients as it says.")
        if not all(type(one) in (int, float) and abs(one) <= _LARGEST for one in self.values):
            raise CheckpointError("The checkpoint's risks are not all numbers.")  # NaN is none
        if any(first > second for first, second in pairwise(self.values)):
            raise CheckpointError("The checkpoint's risks are in no order.")

    @classmethod
    def of(cls, risks: Float64) -> Self:
        """Keep the risks of patients, shape (n,), at least one."""
        ranked = np.sort(risks)
        if len(ranked) > _MOST_VALUES:
            ranked = np.percentile(ranked, np.linspace(0, 100, _MOST_VALUES))
            ranked = np.maximum.accumulate(ranked)  # interpolated ones may fall by a rounding
        return cls(n=len(risks), values=tuple(map(float, ranked)))

    @property
    def is_whole(self) -> bool:
        """Whether every patient's risk is there, not percentiles alone."""
        return self.n == len(self.values)

    def share_below(self, risk: float) -> float:
        """Return which share of the patients has a lower risk, 0 to 1."""
        below = bisect_left(self.values, risk)
        if self.is_whole or below in {0, len(self.values)}:
            return below / len(self.values)
        return float(np.interp(risk, self.values, np.linspace(0, 1, len(self.values))))

    def to_dict(self) -> dict[str, Json]:
        """Return JSON values."""
        return {"n": self.n, "values": list(self.values)}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """Build from JSON values.

        Raises
        ------
        CheckpointError
            If a value is missing, unknown or impossible.
        """
        values = found.get("values")
        if set(found) != {"n", "values"} or not isinstance(values, list):
            raise CheckpointError("The checkpoint's risks are damaged; use another file.")
        return cls(n=found["n"], values=tuple(values))
