from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from src_core.inference.faithfulness import faithfulness_curve
from src_core.models.checkpoint import Checkpoint
from src_core.training import fit


@pytest.fixture(scope="module")
def model(planted: Any, quick: Any) -> Checkpoint:
    return fit(planted(24), quick).checkpoint


def tumour_score(curve: np.ndarray) -> np.ndarray:
    return curve[:, 1] - curve[:, 0]


def test_without_what_the_class_is_written_in_the_score_falls(planted: Any, model: Any) -> None:
    rng = np.random.default_rng(0)
    for slide in planted(6, seed=5).slides[1::2]:
        shares = [0.0, 0.25]
        known = faithfulness_curve(model, slide, slide.truth.astype(float), shares)
        blind = faithfulness_curve(model, slide, rng.random(len(slide.labels)), shares)
        assert tumour_score(known.student)[1] < tumour_score(blind.student)[1] - 2
        assert tumour_score(known.fused)[1] < 0 < tumour_score(blind.fused)[1]
        np.testing.assert_array_equal(known.student[0], blind.student[0])  # nothing is deleted


def test_with_little_else_left_the_score_is_there(planted: Any, model: Any) -> None:
    for slide in planted(6, seed=5).slides[1::2]:
        ranking = slide.truth.astype(float)
        best = faithfulness_curve(model, slide, ranking, [0.2, 1.0], way="insertion")
        worst = faithfulness_curve(model, slide, -ranking, [0.2], way="insertion")
        assert tumour_score(best.student)[0] > tumour_score(best.student)[1] > 0
        assert tumour_score(worst.student)[0] < tumour_score(best.student)[0] - 1


def test_a_share_that_leaves_nothing_is_refused(planted: Any, model: Any) -> None:
    slide = planted(2).slides[1]
    ranking = np.zeros(len(slide.labels))
    with pytest.raises(ValueError, match="leaves none of"):
        faithfulness_curve(model, slide, ranking, [1.0])
    with pytest.raises(ValueError, match="leaves none of"):
        faithfulness_curve(model, slide, ranking, [0.0], way="insertion")
    with pytest.raises(ValueError, match="a map of shape"):
        faithfulness_curve(model, slide, ranking[1:], [0.5])
