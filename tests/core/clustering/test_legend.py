"""Names, colours and merges of clusters: what is shown, what is stored, and what is refused."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from src_core.clustering.legend import LONGEST_NAME, Legend
from src_core.clustering.legend_store import LegendStore, clusters_digest
from src_core.errors import ConfigError, ProjectError
from src_core.inference.palette import cluster_colors
from src_core.provenance import MAX_JSON_BYTES

USUAL = Legend(n_clusters=6)


@pytest.fixture
def store(tmp_path: Path) -> LegendStore:
    return LegendStore(tmp_path / "clusters" / "legend.json", n_clusters=6, of="digest")


def test_clusters_go_by_their_numbers_until_somebody_names_them() -> None:
    assert USUAL.all_names() == [f"cluster {number}" for number in range(6)]
    np.testing.assert_array_equal(USUAL.rgb(cluster_colors(6)), cluster_colors(6))
    assert not USUAL.is_edited
    named = USUAL.renamed(3, "  tumour\tbed ")
    assert named.is_edited
    assert named.name(3) == "tumour bed"
    assert named.renamed(3, "") == named.renamed(3, "cluster 3") == USUAL


def test_a_merge_shows_and_counts_several_as_one() -> None:
    legend = USUAL.renamed(4, "stroma").recolored(4, "#0000FF").merged([4, 1])
    labels = np.array([0, 1, 4, 4, 5, -1], np.int32)
    assert legend.shown(labels).tolist() == [0, 1, 1, 1, 5, -1]
    assert legend.all_names()[1] == legend.all_names()[4] == "stroma"
    for number in (1, 4):
        np.testing.assert_array_equal(legend.rgb(cluster_colors(6))[number], [0, 0, 1])
    wider = legend.merged([1, 2]).renamed(2, "tissue")
    assert wider.groups == ((1, 2, 4),)
    assert (USUAL.n_shown, legend.n_shown, wider.n_shown) == (6, 5, 4)
    assert {wider.name(number) for number in (1, 2, 4)} == {"tissue"}
    assert legend.split(1).name(4) == "stroma"
    assert legend.split(4).shown(labels).tolist() == labels.tolist()
    assert USUAL.merged([5, 0]).name(5) == "clusters 0, 5"
    assert USUAL.merged(range(6)).name(0) == "clusters 0, 1, 2, 3 and 2 more"


def test_the_first_coloured_of_merged_clusters_gives_the_colour() -> None:
    legend = USUAL.recolored(1, "#ff0000").recolored(3, "#00ff00").merged([3, 2, 1])
    np.testing.assert_array_equal(legend.rgb(cluster_colors(6))[[1, 2, 3]], [[1, 0, 0]] * 3)
    assert legend.recolored(3, None).colors == {}


def test_a_name_moves_no_cursor_and_turns_no_writing_round() -> None:
    name = USUAL.renamed(0, "a\x1b[31mb\u202ec\nd\ud800").name(0)
    assert name.isprintable()
    assert name == "a\N{REPLACEMENT CHARACTER}[31mb\N{REPLACEMENT CHARACTER}c d?"


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda legend: legend.renamed(0, "a" * (LONGEST_NAME + 1)), "61 characters"),
        (lambda legend: legend.renamed(6, "a"), "no cluster 6"),
        (lambda legend: legend.recolored(0, "red; url(x)"), "no colour"),
        (lambda legend: legend.recolored(-1, "#ffffff"), "no cluster -1"),
        (lambda legend: legend.merged([2, 2]), "at least two"),
        (lambda legend: legend.split(2), "not merged"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(edit: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        edit(USUAL)  # type: ignore[operator]


def test_every_edit_is_stored_at_once_and_taken_back_after_a_restart(store: LegendStore) -> None:
    assert store.current() == USUAL
    assert not store.can_undo()
    assert store.undo() is None
    edits = [
        store.edit(lambda legend: legend.renamed(2, "tumour")),
        store.edit(lambda legend: legend.merged([2, 3])),
        store.edit(lambda legend: legend.recolored(2, "#123456")),
    ]
    again = LegendStore(store.path, n_clusters=6, of="digest")
    assert again.current() == edits[-1]
    assert again.edit(lambda legend: legend) == edits[-1], "an edit that changes nothing is none"
    assert again.undo() == edits[1]
    assert again.undo() == edits[0]
    assert again.undo() == USUAL
    assert not again.can_undo()


def test_only_so_much_is_kept(tmp_path: Path) -> None:
    store = LegendStore(tmp_path / "legend.json", n_clusters=1000, of="x")
    names = dict.fromkeys(range(1000), "😀" * LONGEST_NAME)
    for number in range(12):
        color = f"#0000{number:02x}"
        whole = Legend(n_clusters=1000, names=names, colors={0: color})
        store.edit(partial(_instead, whole))
    assert store.path.stat().st_size < MAX_JSON_BYTES
    assert store.current() == whole
    assert store.can_undo()


def _instead(whole: Legend, _before: Legend) -> Legend:
    return whole


def test_clusters_that_were_made_anew_do_not_take_the_names_of_others(store: LegendStore) -> None:
    store.edit(lambda legend: legend.renamed(2, "tumour"))
    labels = np.arange(6, dtype=np.int32)
    for n_clusters, of in ((7, "digest"), (6, clusters_digest(labels))):
        with pytest.raises(ProjectError, match="names other clusters"):
            LegendStore(store.path, n_clusters=n_clusters, of=of).current()
    assert clusters_digest(labels) != clusters_digest(labels[::-1])


@pytest.mark.parametrize(
    "legends",
    [
        [],
        [3],
        [{"names": {}, "colors": {}}],
        [{"names": {"6": "a"}, "colors": {}, "groups": []}],
        [{"names": {"0": 1}, "colors": {}, "groups": []}],
        [{"names": {"0": "a" * 61}, "colors": {}, "groups": []}],
        [{"names": {}, "colors": {"0": "red"}, "groups": []}],
        [{"names": {}, "colors": {}, "groups": [[0, 1], [1, 2]]}],
        [{"names": {}, "colors": {}, "groups": [[0, 6]]}],
        [{"names": {}, "colors": {}, "groups": [[0]]}],
        [{"names": {}, "colors": {}, "groups": [[0, True]]}],
        [{"names": {}, "colors": {}, "groups": {}}],
        [{"names": {}, "colors": {}, "groups": []}] * 52,
    ],
)
def test_a_damaged_file_is_told_and_left_as_it_is(store: LegendStore, legends: object) -> None:
    store.path.parent.mkdir(parents=True)
    store.path.write_text(json.dumps({"of": "digest", "n_clusters": 6, "legends": legends}))
    before = store.path.read_bytes()
    for act in (store.current, store.undo, lambda: store.edit(lambda one: one.renamed(0, "a"))):
        with pytest.raises(ProjectError, match="damaged"):
            act()
    assert store.path.read_bytes() == before


def test_names_in_a_file_from_elsewhere_are_cleaned(store: LegendStore) -> None:
    store.path.parent.mkdir(parents=True)
    legend = {"names": {"0": "a\u202eb", "1": " \n"}, "colors": {}, "groups": []}
    store.path.write_text(json.dumps({"of": "digest", "n_clusters": 6, "legends": [legend]}))
    assert store.current().names == {0: "a\N{REPLACEMENT CHARACTER}b"}
