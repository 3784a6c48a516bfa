from __future__ import annotations

import numpy as np
import pytest

from tests.core.clustering.dense_reference import blob_views
from tests.core.clustering.graphs import quick_graphs


def test_first_eigenvectors_of_more_clusters_begin_with_those_of_fewer() -> None:
    graphs = quick_graphs(blob_views(600, 9)[0])
    few = graphs.first_bases(4, seed=0, step=lambda _: None)
    many = graphs.first_bases(9, seed=0, step=lambda _: None)
    for some, more in zip(few, many, strict=True):
        assert np.linalg.svd((some.T @ more[:, :4]).numpy())[1].min() > 1 - 1e-6


@pytest.mark.parametrize("search", ["exact", "listed"])
def test_a_constant_view_has_no_graph(search: str) -> None:
    views = blob_views(900, 4)[0]
    graphs = quick_graphs([views[0], np.ones((900, 3)), views[1]], search)
    assert graphs.left_out == (1,)
    assert [tuple(one.shape) for one in graphs.neighbours] == [(900, 10)] * 2
