"""Comparisons of two folds, and of contenders that a test chooses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from src_core.bags.cohort import Cohort
from src_core.training.config import TrainConfig
from src_core.training.contenders import Contender, Plan, Row, Table
from src_core.training.contest import Contest, hold_contest

__all__ = ["ONE_RATE", "hold", "plan_of", "rows_of"]

ONE_RATE = (1.0,)
"""One learning rate instead of three, where the choice is not what is shown."""


def hold(cohort: Cohort, config: TrainConfig, plan: Plan, folder: Path, **told: Any) -> Contest:
    """Compare in two folds by patient."""
    folds = cohort.split_by_patient(2, seed=config.seed)
    return hold_contest(cohort, config, plan, folds=folds, folder=folder, **told)


def plan_of(*contenders: Contender) -> Plan:
    rows = tuple(Row(label=one.name, of=(one.name,)) for one in contenders)
    table = Table(name="methods", title="Methods", head="method", rows=rows)
    return Plan(contenders=contenders, tables=(table,), notes=())


def rows_of(table: dict[str, Any]) -> dict[str, Any]:
    return {row["label"]: row for row in table["rows"]}
