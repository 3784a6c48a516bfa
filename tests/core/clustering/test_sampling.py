from __future__ import annotations

import numpy as np
import pytest

from src_core.clustering.sampling import draw_patches
from src_core.errors import GridMismatchError


@pytest.mark.parametrize(
    ("counts", "wanted", "shares"),
    [
        ((10, 10), 8, (4, 4)),
        ((2, 100, 100), 42, (2, 20, 20)),
        ((0, 5), 100, (0, 5)),
        ((7, 3, 5), 1, (0, 0, 1)),
    ],
)
def test_slides_give_alike_as_far_as_they_can(
    counts: tuple[int, ...], wanted: int, shares: tuple[int, ...]
) -> None:
    slides = [[np.arange(2.0 * n).reshape(n, 2), np.ones((n, 3))] for n in counts]
    rows, (first, second) = draw_patches(slides, wanted, seed=1, name="test")
    assert sorted(map(len, rows)) == sorted(shares)
    assert len(first) == len(second) == min(wanted, sum(counts))
    for chosen, views in zip(rows, slides, strict=True):
        assert (np.diff(chosen) > 0).all()
        assert set(views[0][chosen, 0]) <= set(first[:, 0])


def test_another_seed_or_name_draws_others() -> None:
    slides = [[np.arange(1000.0)[:, None]]]
    first, same, other, named = (
        draw_patches(slides, 50, seed=seed, name=name)[0][0].tolist()
        for seed, name in ((1, "a"), (1, "a"), (2, "a"), (1, "b"))
    )
    assert first == same
    assert first not in (other, named)


def test_views_of_other_patches_are_refused() -> None:
    with pytest.raises(GridMismatchError):
        draw_patches([[np.ones((4, 2)), np.ones((5, 2))]], 3, seed=0, name="a")
