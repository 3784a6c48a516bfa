"""Which patches the gallery shows, in which order, and what it says where there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_fusecpath.widgets.gallery_sources import SOURCES, lack_of, rows_of, version_of
from napari_fusecpath.widgets.gallery_texts import cluster_text, count_text, patch_text
from napari_fusecpath.widgets.snapshot import Snapshot
from src_core.bags.edits import SelectionEdits
from src_core.clustering.legend import Legend
from src_core.patches.grid import PatchGrid
from src_core.patches.lattice import Lattice
from src_core.project import SlideFolder
from tests.plugin.widgets.predicted import predicted

CLUSTERS = np.array([0, 1, 0, 1, 1, -1], np.int32)
ATTENTION = [0.5, 3.0, np.nan, 1.0, 2.0, 0.1]
ODDS = [0.9, 0.5, 0.5, 0.6, 0.99, 0.55]


@pytest.fixture
def known(tmp_path: Path) -> dict[str, Any]:
    """What a snapshot of a slide of six patches holds once it is clustered and predicted."""
    lattice = Lattice(
        origin_xy=(0.0, 0.0),
        stride_l0=128.0,
        patch_l0=128.0,
        patch_px=128,
        shape_hw=(1, 6),
        mpp=0.5,
        slide_mpp=0.5,
    )
    cells = np.stack([np.arange(6), np.zeros(6)], axis=1).astype(np.int32)
    return {
        "slide_path": tmp_path / "a.tiff",
        "slide": SlideFolder(tmp_path, "a"),
        "grid": PatchGrid(lattice, cells, "t" * 16),
        "clusters": CLUSTERS,
        "agreement": np.array([[1, 1], [0.2, 0.4], [1, 0], [1, 1], [0.5, 0.5], [1, 1]], np.float32),
        "typical": np.array([[2, -1], [4, -1]]),
        "edits": SelectionEdits.none(6),
        "run_id": "run-0001",
        "prediction": predicted(ATTENTION, ODDS),
    }


def rows(source: Any, known: dict[str, Any], **options: Any) -> list[int]:
    return rows_of(source, Snapshot(**known), **options).tolist()


def test_a_cluster_begins_with_what_is_typical_of_it(known: dict[str, Any]) -> None:
    assert rows("cluster", known, cluster=1) == [4, 3, 1], "then what encoders agree about"
    assert rows("cluster", known, cluster=0) == [2, 0]
    assert rows("cluster", known, cluster=7) == []
    assert rows("cluster", known, cluster=-1) == [], "patches without a cluster are none"
    plain = known | {"agreement": None, "typical": None}
    assert rows("cluster", plain, cluster=1) == [1, 3, 4]
    joint = known | {"joint": np.array([2, 2, 0, 0, 0, 0], np.int32), "n_joint": 3}
    assert rows("cluster", joint, cluster=2, is_joint=True) == [0, 1]


def test_merged_clusters_are_shown_as_the_one_that_they_are_called(known: dict[str, Any]) -> None:
    apart = Snapshot(**(known | {"legend": Legend(n_clusters=2)}))
    one = Legend(n_clusters=2).merged([0, 1])
    merged = known | {"legend": one}
    assert rows("cluster", merged, cluster=1) == [2, 4, 0, 3, 1], "the typical ones of both first"
    assert rows("cluster", merged, cluster=0) == [2, 4, 0, 3, 1]
    before = version_of("cluster", apart)
    assert version_of("cluster", Snapshot(**merged)) != before
    named = known | {"legend": Legend(n_clusters=2).renamed(1, "stroma")}
    assert version_of("cluster", Snapshot(**named)) != before, "it is said by its new name"
    joint = {"joint": np.array([2, 2, 0, 0, 0, 1], np.int32), "n_joint": 3}
    of_all = known | joint | {"joint_legend": Legend(n_clusters=3).merged([1, 2])}
    assert rows("cluster", of_all, cluster=2, is_joint=True) == [0, 5, 1]


def test_patches_are_ranked_by_what_the_model_says(known: dict[str, Any]) -> None:
    assert rows("attended", known) == [1, 4, 3, 0, 5], "what no bag holds has no attention"
    assert rows("unattended", known) == [5, 0, 3, 4, 1]
    assert rows("uncertain", known) == [1, 5, 3, 0, 4]


def test_representatives_are_a_bag_of_today(known: dict[str, Any]) -> None:
    assert sorted(rows("representatives", known)) == [0, 1, 2, 3, 4]
    excluded = np.arange(6) == 3
    edits = SelectionEdits(excluded=excluded, pinned=np.zeros(6, np.bool_))
    assert sorted(rows("representatives", known | {"edits": edits})) == [0, 1, 2, 4]


def test_what_is_lacking_is_said_with_the_step_that_gives_it(known: dict[str, Any]) -> None:
    def step(source: Any, **changes: Any) -> str | None:
        lack = lack_of(source, Snapshot(**(known | changes)), is_joint=False)
        return None if lack is None else lack.step

    assert [step(source) for source in SOURCES] == [None] * len(SOURCES)
    for source in SOURCES:
        assert "Open a slide" in lack_of(source, Snapshot(), is_joint=False).text  # type: ignore[union-attr]
        assert step(source, grid=None) == "prepare"
    assert step("cluster", clusters=None) == step("representatives", clusters=None) == "cluster"
    assert step("alike", missing={"lite0": 2}) == "embed"
    without = {"prediction": None}
    assert [step(one, **without) for one in SOURCES[3:6]] == ["predict"] * 3
    assert step("attended", **without, run_id=None) == "train"
    values = predicted(ATTENTION, ODDS, task="regression")
    assert step("attended", prediction=values) is None
    assert step("uncertain", prediction=values) == ""
    blind = Snapshot(**(known | {"prediction": None, "hidden": known["prediction"]}))
    assert "kept from you" in lack_of("attended", blind, is_joint=False).text  # type: ignore[union-attr]


def test_words_of_a_patch(known: dict[str, Any]) -> None:
    legend = Legend(n_clusters=2)
    edits = SelectionEdits(excluded=np.arange(6) == 4, pinned=np.arange(6) == 2)
    snapshot = Snapshot(**(known | {"legend": legend, "edits": edits}))
    text = patch_text(snapshot, 4, is_joint=False, mark="stroma")
    name = legend.name(1)
    assert text == (
        f"patch 4 · {name} · attention 2.00× average · tumour 0.99 · marked stroma · excluded"
    )
    assert patch_text(snapshot, 2, is_joint=False) == f"patch 2 · {legend.name(0)} · pinned"
    assert patch_text(Snapshot(), 1234, is_joint=False) == "patch 1,234"
    assert cluster_text(Snapshot(joint=CLUSTERS), 1, is_joint=True) == "cluster 1"
    assert count_text(5, 5) == "5 patches"
    assert count_text(2000, 43210) == "the first 2,000 of 43,210 patches"
