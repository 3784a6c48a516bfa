from __future__ import annotations

import numpy as np
import pytest

from src_core.inference.palette import _appearance, _distance, cluster_colors


def test_a_cluster_keeps_its_colour_whatever_their_number() -> None:
    np.testing.assert_array_equal(cluster_colors(60)[:12], cluster_colors(12))
    assert cluster_colors(0).shape == (0, 3)
    assert 0 <= cluster_colors(60).min() <= cluster_colors(60).max() <= 1
    with pytest.raises(ValueError, match="negative"):
        cluster_colors(-1)


@pytest.mark.parametrize(("n", "gap"), [(7, 0.10), (15, 0.10), (50, 0.055)])
def test_no_two_colours_are_alike_to_either_eye(n: int, gap: float) -> None:
    seen = _appearance(cluster_colors(n).astype(float))
    closest = min(float(np.delete(_distance(seen, seen[:, i : i + 1]), i).min()) for i in range(n))
    assert closest > gap
