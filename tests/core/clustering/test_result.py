from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.clustering import ClusterConfig, ClusterResult, load_clusters, save_clusters
from src_core.clustering.agreement import N_TYPICAL
from src_core.clustering.result import left_out_encoders, load_agreement, load_typical
from src_core.errors import ConfigError, ProjectError


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    typical = np.full((3, N_TYPICAL), -1)
    typical[:, :2] = [[0, 2], [1, -1], [3, -1]]
    result = ClusterResult(
        labels=np.array([0, 1, 0, 2], dtype=np.int32),
        n_clusters=3,
        agreement=np.array([[1], [0], [1], [0.5]], dtype=np.float32),
        typical=typical,
        left_out=(1,),
    )
    save_clusters(tmp_path / "clusters", result, {"views": {"a": "1", "b": "2"}, "n_clusters": 3})
    return tmp_path / "clusters"


def test_what_is_saved_is_loaded(stored: Path) -> None:
    labels, meta = load_clusters(stored)
    np.testing.assert_array_equal(labels, [0, 1, 0, 2])
    assert labels.dtype == np.int32
    assert meta["recipe"] == {"views": {"a": "1", "b": "2"}, "n_clusters": 3}
    assert (meta["n_clusters"], meta["n_patches"], meta["left_out"]) == (3, 4, [1])


def test_what_clusters_are_like_is_loaded(stored: Path) -> None:
    np.testing.assert_array_equal(load_agreement(stored)[:, 0], [1, 0, 1, 0.5])
    typical = load_typical(stored)
    assert typical.shape == (3, N_TYPICAL)
    np.testing.assert_array_equal(typical[:, :2], [[0, 2], [1, -1], [3, -1]])
    np.save(stored / "typical.npy", np.full((3, N_TYPICAL), 4))
    with pytest.raises(ProjectError, match="names patches that the slide has not"):
        load_typical(stored)
    (stored / "agreement.npy").unlink()
    with pytest.raises(ProjectError):
        load_agreement(stored)


def test_encoders_that_were_left_out_are_named(stored: Path) -> None:
    assert left_out_encoders(load_clusters(stored)[1]) == ("b",)


def test_missing_and_damaged_are_told(stored: Path, tmp_path: Path) -> None:
    with pytest.raises(ProjectError):
        load_clusters(tmp_path / "nothing")
    np.save(stored / "labels.npy", np.array([0, 1, 0], dtype=np.int32))
    with pytest.raises(ProjectError):
        load_clusters(stored)
    np.save(stored / "labels.npy", np.array([0, 1, 0, 3], dtype=np.int32))
    with pytest.raises(ProjectError, match="beyond the 3"):
        load_clusters(stored)
    (stored / "meta.json").write_text(json.dumps({"recipe": {}}))
    with pytest.raises(ProjectError, match="incomplete"):
        load_clusters(stored)


def test_small_slides_get_fewer_clusters() -> None:
    config = ClusterConfig()
    assert [config.effective_clusters(n) for n in (0, 9, 19, 20, 499, 500, 9999)] == [
        1,
        1,
        1,
        2,
        49,
        50,
        50,
    ]
    with pytest.raises(ConfigError, match="n_clusters"):
        ClusterConfig(n_clusters=0)


def test_reading_clusters_loads_no_heavy_library(project_root: Path) -> None:
    code = (
        "import sys, src_core.clustering as c; c.load_clusters, c.ClusterConfig;"
        "sys.exit(' '.join({'sklearn', 'scipy', 'torch'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project_root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "claim", [{"n_clusters": 10**14}, {"n_clusters": -1}, {"left_out": 5}, {"recipe": None}]
)
def test_a_claim_that_no_clustering_makes_is_refused(stored: Path, claim: dict) -> None:
    meta = json.loads((stored / "meta.json").read_text())
    (stored / "meta.json").write_text(json.dumps({**meta, **claim}))
    with pytest.raises(ProjectError, match="incomplete"):
        load_clusters(stored)


def test_agreement_is_a_share(stored: Path) -> None:
    for wrong in (np.nan, 1.5, -0.1):
        np.save(stored / "agreement.npy", np.full((4, 1), wrong, np.float32))
        with pytest.raises(ProjectError, match="0 to 1"):
            load_agreement(stored)


@pytest.mark.parametrize(
    ("name", "load"), [("agreement", load_agreement), ("typical", load_typical)]
)
def test_a_wide_claim_is_refused(
    stored: Path, sparse_array: Any, name: str, load: Callable[[Path], object]
) -> None:
    sparse_array(stored / f"{name}.npy", np.load(stored / f"{name}.npy").dtype, (3, 10**9))
    with pytest.raises(ProjectError, match=f"{name}.npy"):
        load(stored)
