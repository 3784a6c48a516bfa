"""Reports: what scored slides say of a model, with intervals, as figures and as one page."""

from __future__ import annotations

from src_core.reports.scored import CROSS_VALIDATION, ScoredSlides
from src_core.reports.writing import write_report

__all__ = ["CROSS_VALIDATION", "ScoredSlides", "write_report"]
