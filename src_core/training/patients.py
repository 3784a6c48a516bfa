"""From slides to patients, where the label is the patient's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from src_core.types import Float64, Int64

__all__ = ["mean_by_patient"]


def mean_by_patient(
    patients: Sequence[str], scores: Float64
) -> tuple[tuple[str, ...], Float64, Int64]:
    """Return every patient's mean score: of logits, of values, or of log-hazards.

    Parameters
    ----------
    patients : sequence of str
        Patient of each slide.
    scores : ndarray of float, shape (n_slides, C)

    Returns
    -------
    patients : tuple of str
        In the order in which each comes first.
    means : ndarray of float64, shape (n_patients, C)
    row : ndarray of int64, shape (n_slides,)
        Each slide's place among the patients.
    """
    if len(patients) != len(scores):
        raise ValueError(f"{len(scores)} scores for {len(patients)} slides")
    place = {patient: number for number, patient in enumerate(dict.fromkeys(patients))}
    row = np.array([place[patient] for patient in patients], dtype=np.int64)
    sums = np.zeros((len(place), scores.shape[1]))
    np.add.at(sums, row, scores)
    return tuple(place), sums / np.bincount(row, minlength=len(place))[:, None], row
