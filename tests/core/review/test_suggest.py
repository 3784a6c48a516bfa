"""What is shown next: informative, spread out, never twice."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from src_core.review.suggest import _ranks, disagreement, doubt, suggest


def test_doubt_is_0_for_the_certain_and_1_for_even_odds() -> None:
    odds = np.array([[1, 0, 0], [1 / 3] * 3, [np.nan] * 3, [0.5, 0.5, 0]], np.float32)
    found = doubt(odds)
    np.testing.assert_allclose(found[[0, 1, 3]], [0, 1, np.log(2) / np.log(3)], atol=1e-6)
    assert np.isnan(found[2])
    assert disagreement(np.array([[1, 1], [0, 0.5]], np.float32)).tolist() == [0, 0.75]


def _slide(seed: int = 0, n: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    tumour = rng.beta(0.4, 4, n)
    odds = np.stack([1 - tumour, tumour], axis=1).astype(np.float32)
    labels = rng.integers(-1, 8, n).astype(np.int32)
    return odds, labels, rng.random((n, 3)).astype(np.float32)


@given(seed=st.integers(0, 50), n=st.integers(1, 250), share=st.floats(0, 1))
def test_only_unmarked_patches_are_shown_and_each_once(seed: int, n: int, share: float) -> None:
    odds, labels, agreement = _slide(seed)
    odds[3] = np.nan
    marked = np.random.default_rng(seed).random(len(labels)) < share
    found = suggest(odds, labels, n=n, marked=marked, agreement=agreement)
    free = ~marked & (labels >= 0)
    free[3] = False
    assert len(set(found.rows.tolist())) == len(found.rows) == min(n, free.sum())
    assert free[found.rows].all()
    again = suggest(odds, labels, n=n, marked=marked, agreement=agreement)
    np.testing.assert_array_equal(found.rows, again.rows)


def test_evidence_doubt_and_coverage_take_turns() -> None:
    odds, labels, _ = _slide()
    labels[:] = 0
    found = suggest(odds, labels, n=6)
    assert found.reasons == ("evidence", "doubt", "coverage") * 2
    assert found.rows[0] == odds[:, 1].argmax()
    assert found.rows[1] in np.argsort(-doubt(odds))[:2]
    assert np.isnan(found.disagreement).all()


def test_coverage_gives_each_cluster_its_share_of_the_looks() -> None:
    odds = np.tile(np.array([0.8, 0.2], np.float32), (120, 1))
    labels = np.repeat(np.array([0, 1, 2], np.int32), (60, 40, 20))
    marked = np.zeros(120, np.bool_)
    marked[:30] = True  # of the largest cluster enough has been looked at
    found = suggest(odds, labels, n=30, marked=marked)
    cover = [c for c, why in zip(found.clusters, found.reasons, strict=True) if why == "coverage"]
    assert cover[0] == 1
    assert np.bincount(cover, minlength=3)[1:].min() >= 2


def test_the_rarer_class_is_evidence_whichever_it_is() -> None:
    odds, labels, _ = _slide()
    one, other = suggest(odds, labels, n=10), suggest(odds[:, ::-1], labels, n=10)
    np.testing.assert_array_equal(one.rows, other.rows)


def test_a_batch_is_spread_over_the_clusters() -> None:
    odds, labels, _ = _slide()
    odds[labels == 2] = (0.45, 0.55)  # the surest and the least sure are all of one kind
    found = suggest(odds, labels, n=10)
    assert len(set(found.clusters.tolist())) >= 4


def test_encoders_that_disagree_bring_a_patch_forward() -> None:
    odds = np.tile(np.array([0.8, 0.2], np.float32), (50, 1))
    agreement = np.ones((50, 2), np.float32)
    agreement[17] = 0
    found = suggest(odds, np.zeros(50, np.int32), n=2, agreement=agreement)
    assert found.rows[found.reasons.index("doubt")] == 17
    assert found.disagreement[found.reasons.index("doubt")] == 1


def test_arrays_of_other_patches_are_refused() -> None:
    odds, labels, agreement = _slide()
    with pytest.raises(ValueError, match="patches"):
        suggest(odds[1:], labels, n=3)
    with pytest.raises(ValueError, match="patches"):
        suggest(odds, labels, n=3, agreement=agreement[1:])
    with pytest.raises(ValueError, match="0 patches"):
        suggest(odds, labels, n=0)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans())))
def test_patches_of_the_same_value_share_their_mean_rank(values: list[tuple[int, bool]]) -> None:
    numbers = np.array([value for value, _ in values], float)
    free = np.array([is_free for _, is_free in values], bool)
    wanted = np.zeros(len(values))
    wanted[free] = rankdata(numbers[free]) / max(1, free.sum())
    np.testing.assert_allclose(_ranks(numbers, free), wanted)


def test_a_window_that_suggests_waits_for_no_statistics() -> None:
    code = (
        "import sys, numpy as np; from src_core.review.suggest import suggest; "
        "suggest(np.ones((4, 2), 'f') / 2, np.zeros(4, 'i'), n=2, marked=np.zeros(4, bool)); "
        "sys.exit('scipy.stats' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
