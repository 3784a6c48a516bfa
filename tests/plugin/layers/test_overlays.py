"""Rasters on a viewer: kept and swapped, in the right colours and order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from numpy.typing import NDArray
from vispy.scene import Axis

from napari_fusecpath.layers.find import ROLES, about, find_layer, role_of
from napari_fusecpath.layers.label_look import dress_labels
from napari_fusecpath.layers.map_words import attention_words
from napari_fusecpath.layers.maps import (
    show_agreement,
    show_attention,
    show_contribution,
    show_prediction,
)
from napari_fusecpath.layers.overlays import (
    show_clusters,
    show_marks,
    show_tissue,
)
from napari_fusecpath.layers.smoothing import draw_smoothly
from src_core.inference.palette import cluster_colors
from src_core.patches.grid import Lattice, PatchGrid
from src_core.tissue.mask import TissueMask
from tests.plugin.layers.grids import LATTICE, frame_cells, grid_of


def told_on(viewer: ViewerModel) -> str:
    """Return the captions without what ends their lines."""
    return " ".join(viewer.text_overlay.text.split())


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


def show_everything(viewer: ViewerModel, grid: PatchGrid, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    n = len(grid)
    frame_cells(viewer, grid.lattice, grid.cells[:3])
    show_prediction(viewer, grid, rng.random(n), class_name="tumour")
    show_attention(viewer, grid, rng.exponential(size=n))
    show_contribution(viewer, grid, rng.normal(size=n), class_name="tumour")
    show_agreement(viewer, grid, rng.random(n))
    show_marks(viewer, grid.lattice, np.zeros(grid.lattice.shape_hw, int), names=["tumour", "fat"])
    show_clusters(viewer, grid, rng.integers(-1, 5, n))
    show_tissue(viewer, TissueMask(rng.random((32, 40)) > 0.5, (0, 0), (128, 128), {}), mpp=0.25)


def test_layers_are_kept_and_their_data_swapped(viewer: ViewerModel) -> None:
    show_everything(viewer, grid_of(), seed=0)
    before = list(viewer.layers)
    viewer.layers[0].name = "renamed by the user"
    find_layer(viewer, "attention").opacity = 0.2  # type: ignore[union-attr]
    datas = [np.array(layer.data) for layer in before]
    other = Lattice((64.0, 32.0), 256.0, 256.0, (9, 11), 256, 0.5, 0.25)
    show_everything(viewer, grid_of(lattice=other), seed=1)
    assert list(viewer.layers) == before
    assert viewer.layers[0].name == "renamed by the user"
    assert find_layer(viewer, "attention").opacity == 0.2  # type: ignore[union-attr]
    for layer, old in zip(before, datas, strict=True):
        assert not np.array_equal(layer.data, old, equal_nan=old.dtype.kind == "f"), layer.name
    clusters = find_layer(viewer, "clusters")
    assert clusters is not None
    np.testing.assert_allclose(clusters.scale, (64, 64))
    np.testing.assert_allclose(clusters.translate, ((32 + 128) * 0.25, (64 + 128) * 0.25))


def test_order_is_that_of_the_roles_whatever_comes_first(viewer: ViewerModel) -> None:
    show_everything(viewer, grid_of())
    roles = [role_of(layer) for layer in viewer.layers]
    assert roles == [role for role in ROLES if role in roles]
    assert len(roles) == 8


def test_every_layer_is_in_micrometres(viewer: ViewerModel) -> None:
    show_everything(viewer, grid_of())
    for layer in viewer.layers:
        assert {str(unit) for unit in layer.units} == {"micrometer"}, layer.name
    assert find_layer(viewer, "slide") is None


def test_clusters_are_cluster_plus_one_in_the_palette(viewer: ViewerModel) -> None:
    grid = grid_of(10)
    labels = [-1, 0, 1, 2, 0, 1, 2, 0, 1, 2]
    layer = show_clusters(viewer, grid, labels, names=["stroma"])
    assert layer.data[0].tolist() == [label + 1 for label in labels]
    assert (layer.data[1:] == 0).all()
    for label, color in enumerate(cluster_colors(3)):
        np.testing.assert_allclose(layer.get_color(label + 1)[:3], color, atol=0.01)
    assert layer.get_color(0) is None or layer.get_color(0)[3] == 0
    assert told(layer, 1) == "stroma", "without napari's number, which is one more than its own"
    assert told(layer, 2) == "cluster 1"
    assert told(layer, 0) == told(layer, 10) == "", "there is none"
    show_clusters(viewer, grid, labels, names=["stroma", "gland"])
    assert told(layer, 2) == "gland"


def test_marks_are_painted_one_patch_at_a_time(viewer: ViewerModel) -> None:
    raster = np.zeros(LATTICE.shape_hw, dtype=int)
    layer = show_marks(viewer, LATTICE, raster, names=["tumour", "stroma"])
    assert layer.brush_size == 1
    layer.selected_label = 2
    layer.paint((3, 4), 2)
    assert np.argwhere(layer.data).tolist() == [[3, 4]]
    layer.undo()
    assert not layer.data.any()
    assert show_marks(viewer, LATTICE, raster, names=["a", "b", "c"]) is layer


def test_many_clusters(viewer: ViewerModel) -> None:
    grid = grid_of(80)
    layer = show_clusters(viewer, grid, np.arange(80) + 300)
    assert layer.data.max() == 380


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-30, np.nan])
def test_constant_maps_have_a_scale(viewer: ViewerModel, value: float) -> None:
    grid = grid_of()
    values = np.full(len(grid), value, dtype=np.float32)
    for layer in (
        show_attention(viewer, grid, values),
        show_contribution(viewer, grid, values, class_name="tumour"),
    ):
        low, high = layer.contrast_limits
        assert low < high


def test_contributions_are_centred_at_zero(viewer: ViewerModel) -> None:
    grid = grid_of()
    layer = show_contribution(viewer, grid, np.linspace(-1, 5, len(grid)), class_name="tumour")
    low, high = layer.contrast_limits
    assert low == -high
    assert "tumour" in layer.name
    show_contribution(viewer, grid, np.linspace(-9, 1, len(grid)), class_name="normal")
    assert layer.contrast_limits[0] < -8
    assert "normal" in layer.name
    layer.name = "mine"
    show_contribution(viewer, grid, np.linspace(-9, 1, len(grid)), class_name="tumour")
    assert layer.name == "mine"


@pytest.mark.parametrize("reach", [0.0989, 1.7, 3.92, 4.6, 85.0])
def test_the_bar_of_contributions_has_numbers(viewer: ViewerModel, reach: float) -> None:
    grid = grid_of()
    values = np.full(len(grid), reach)
    values[0] = -reach
    layer = show_contribution(viewer, grid, values, class_name="tumour")
    bar = Axis(pos=[[1, 1], [1, 0]], tick_direction=(1, 0), domain=layer.contrast_limits)
    bar.transforms.dpi = 96
    _, numbers, *_ = bar.ticker.get_update()
    assert len(numbers) >= 3, "napari's bar would have 0 alone"


def told(layer: Any, cell: float) -> str:
    """Return what the status bar says of a cell of the first row."""
    status = layer.get_status((64.0, 64.0 + 128 * cell), world=True)
    assert status["coordinates"].endswith(status["value"])
    assert status["coordinates"].startswith("[")
    return str(status["value"])


def test_ranks_spread_over_the_colours_and_keep_the_sign(viewer: ViewerModel) -> None:
    grid, values = grid_of(5), [0.1, 0.2, 0.3, 50.0, np.nan]
    layer = show_attention(viewer, grid, values, by_rank=True)
    np.testing.assert_allclose(layer.data[0, :5], [0, 100 / 3, 200 / 3, 100, np.nan], rtol=1e-6)
    assert layer.contrast_limits == [0, 100]
    assert told_on(viewer) == "Attention by rank: percentile within the slide"
    assert told(layer, 1) == "attention: 33rd percentile"
    assert told(layer, 4) == told(layer, 9) == "", "there is no value"
    assert show_attention(viewer, grid, values) is layer
    assert told_on(viewer) == "Attention: share of the bag, 1 = average"
    assert told(layer, 3) == "attention: 50 times the average"
    layer.visible = False

    signed = [-9.0, 0.0, 0.01, -0.02, np.nan]
    layer = show_contribution(viewer, grid, signed, class_name="tumour", by_rank=True)
    np.testing.assert_allclose(layer.data[0, :5], [-100, 0, 50, -75, np.nan])
    assert layer.contrast_limits == [-100, 100]
    assert "by rank: percentile of its size" in told_on(viewer)
    assert told(layer, 0) == "contribution to tumour: 100th percentile by size, against it"
    assert told(layer, 1) == "contribution to tumour: 0th percentile by size"
    assert told(layer, 2).endswith("50th percentile by size, for it")
    show_contribution(viewer, grid, signed, class_name="months", task="survival")
    assert told(layer, 3) == "contribution to months: -0.02 of the log-hazard"


def test_every_map_says_in_words_what_is_under_the_cursor(viewer: ViewerModel) -> None:
    grid, values = grid_of(3), np.array([0.25, 0.5, 0.75])
    probability = show_prediction(viewer, grid, values, class_name="tumour")
    assert told(probability, 0) == "probability of tumour: 0.250"
    assert told(show_agreement(viewer, grid, values), 1) == "agreement of the encoders: 0.50"
    draw_smoothly(probability, grid.lattice)
    between = told(probability, 1.75)
    assert between.endswith(", smoothed")
    between = between.removesuffix(", smoothed")
    assert 0.5 < float(between.removeprefix("probability of tumour: ")) < 0.75, "what is drawn"
    show_prediction(viewer, grid, values, class_name="tumour")
    assert told(probability, 2) == "probability of tumour: 0.750"
    assert probability.get_status()["value"] == ""


@pytest.mark.parametrize(
    ("per_cent", "words"),
    [(1, "1st"), (2.4, "2nd"), (11, "11th"), (12.6, "13th"), (21, "21st"), (93, "93rd")],
)
def test_percentiles_are_read_aloud(per_cent: float, words: str) -> None:
    assert attention_words(by_rank=True)(per_cent) == f"attention: {words} percentile"


def test_cells_without_a_value_are_not_drawn(
    make_napari_viewer: Any, canvas_of: Callable[..., NDArray[np.uint8]]
) -> None:
    viewer = make_napari_viewer(show=True)
    values = np.ones(80, dtype=np.float32)
    values[40:] = np.nan  # the lower half
    grid = grid_of(80)
    layer = show_prediction(viewer, grid, values, class_name="tumour")
    layer.colorbar.visible = False
    layer.opacity = 1
    viewer.reset_view()
    picture = canvas_of(viewer).astype(int)
    height, width = picture.shape[:2]
    background = picture[5, 5]
    upper, lower = picture[int(height * 0.4), width // 2], picture[int(height * 0.6), width // 2]
    assert np.abs(upper - background).max() > 50
    np.testing.assert_array_equal(lower, background)


def test_long_names_stay_on_the_canvas(viewer: ViewerModel) -> None:
    name = "expression_of_an_unusually_long_gene_name_in_log_counts_per_million"
    layer = show_prediction(viewer, grid_of(), np.full(40, 0.5), class_name=name)
    assert layer.name == f"Prediction: {name}", "napari cuts it itself"
    assert "expression_of…s_per_million" in told_on(viewer)
    assert max(map(len, viewer.text_overlay.text.splitlines())) <= 48
    show_prediction(viewer, grid_of(), np.full(40, 0.5), class_name=name, learning="run-0001")
    assert layer.name == f"First map: {name}"
    told = told_on(viewer)
    assert "preliminary" in told
    assert "run-0001 is learning still" in told
    assert about(layer)["preliminary"] is True
    show_prediction(viewer, grid_of(), np.full(40, 0.5), class_name="b")
    assert about(layer)["preliminary"] is False
    assert told_on(viewer) == "Fused prediction map: probability of b"


def test_the_maps_in_view_say_what_they_are(viewer: ViewerModel) -> None:
    if hasattr(viewer, "canvas"):  # since 0.9
        viewer.canvas.size = (800, 1200)  # room for four colour bars
    show_everything(viewer, grid_of())
    assert "probability of tumour" in told_on(viewer)
    lines = [line for line in viewer.text_overlay.text.splitlines() if line.strip()]
    assert len(lines) == 6
    assert max(map(len, lines)) <= 48, "the colour bar is at the right"
    for role in ("agreement", "prediction", "contribution"):
        find_layer(viewer, role).visible = False  # type: ignore[arg-type, union-attr]
    assert told_on(viewer) == "Attention: share of the bag, 1 = average"
    viewer.layers.remove(find_layer(viewer, "attention"))
    assert not viewer.text_overlay.visible
    show_attention(viewer, grid_of(), np.ones(40))
    assert viewer.text_overlay.visible


def test_frames_change_in_the_layer_that_is_there_unless_they_are_many() -> None:
    viewer, grid = ViewerModel(), grid_of()
    layer = frame_cells(viewer, grid.lattice, grid.cells[:3])
    for n_patches in (0, 7, 1):
        assert frame_cells(viewer, grid.lattice, grid.cells[:n_patches]) is layer
        assert (layer.edge_color[:, 3] > 0).sum() == 4 * n_patches
    many = np.zeros((1500, 2), np.int32)
    large = frame_cells(viewer, grid.lattice, many)
    assert large is not layer
    assert layer not in viewer.layers
    assert (large.edge_color[:, 3] > 0).sum() == 6000
    assert frame_cells(viewer, grid.lattice, grid.cells[:1]) is not large, "it is too large"


def test_a_layer_is_drawn_once_and_only_for_what_has_changed() -> None:
    viewer, grid = ViewerModel(), grid_of()
    labels, drawn = np.arange(40) % 4, []
    clusters = show_clusters(viewer, grid, labels)
    frames = frame_cells(viewer, grid.lattice, grid.cells[:3])
    for layer in (clusters, frames):
        layer.events.set_data.connect(lambda event: drawn.append(event.source.name))
    show_clusters(viewer, grid, labels)
    assert drawn == [], "it is as it was"
    show_clusters(viewer, grid, labels, colors=cluster_colors(4)[::-1])
    assert drawn == ["Clusters"], "its raster stays"
    show_clusters(viewer, grid, labels[::-1], colors=cluster_colors(4)[::-1])
    assert drawn == ["Clusters"] * 2
    extent = viewer.layers.extent.world.copy()
    frame_cells(viewer, grid.lattice, grid.cells[5:9])
    assert drawn[2:] == ["Selected patches"]
    np.testing.assert_allclose(viewer.layers.extent.world, extent)


def test_other_colours_keep_to_the_label_that_is_shown_alone() -> None:
    layer = Labels(np.array([[0, 1], [2, 3]], dtype=np.uint8))
    layer.show_selected_label = True
    heard: list[int] = []
    layer.events.selected_label.connect(lambda: heard.append(layer.selected_label))
    colors = cluster_colors(3)
    dress_labels(layer, ["a", "b", "c"], colors, selected=2)
    assert heard == [2]
    np.testing.assert_array_equal(layer.get_color(1), [0, 0, 0, 0])
    np.testing.assert_allclose(layer.get_color(2)[:3], colors[1])
    dress_labels(layer, ["a", "b", "c"], colors, selected=3)
    assert heard == [2, 3]
