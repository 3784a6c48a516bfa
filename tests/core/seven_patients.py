"""A clustered project of ten slides of seven patients, with a column for every task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from src_core.progress import ignore, never
from src_core.verbs import run_verb
from tests.core.cohort_files import clustered_project, write_cohort

__all__ = ["SHARES", "cluster_patients", "run"]

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.35, 0.15, 0.55)


def run(verb: str, **options: Any) -> dict[str, Any]:
    return run_verb(verb, options, report=ignore, stop=never)


def cluster_patients(folder: Path) -> Path:
    """Return a clustered project of ten slides of seven patients; two of them have no value."""
    patients = [max(0, number - 3) for number in range(len(SHARES))]
    own = [number >= 3 for number in range(len(SHARES))]  # the first patient's slides inherit
    table = write_cohort(
        folder,
        SHARES,
        side_px=1280,
        patient_id=[f"p{patient}" for patient in patients],
        grade=["low" if patient % 2 else "high" for patient in patients],
        share=SHARES,
        size=["" if row in {2, 5} else 7 - 3 * share for row, share in enumerate(SHARES)],
        months=[30 - 3 * one if said else "" for one, said in zip(patients, own, strict=True)],
        event=[
            ("dead", "alive")[one == 6] if said else ""
            for one, said in zip(patients, own, strict=True)
        ],
    )
    return clustered_project(folder, table, epochs=2)
