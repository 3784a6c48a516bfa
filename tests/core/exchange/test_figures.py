"""Figures for print: as large as asked, and with every map where it belongs on the slide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from src_core import RESEARCH_USE
from src_core.clustering.legend import Legend
from src_core.clustering.result import load_clusters
from src_core.errors import ConfigError, ProjectError
from src_core.exchange import figures
from src_core.inference import print_figure
from src_core.inference.maps import smoothed
from src_core.inference.palette import cluster_colors
from src_core.inference.prediction import Prediction
from src_core.patches.grid import PatchGrid
from src_core.project import Project
from tests.core.exchange.helpers import verb

LICENCE = "texture BSD-3-Clause"


@pytest.fixture
def predicted(source: Project) -> Project:
    """The project with a prediction as a run would store it."""
    slide = source.slides()[0]
    grid = slide.load_grid()
    rng = np.random.default_rng(0)
    n = len(grid)
    Prediction(
        slide_id=slide.slide_id,
        classes=("normal", "costs $5 & $6"),
        probabilities=np.array([0.4, 0.6]),
        logits=np.zeros(2),
        spread=np.zeros(2),
        bias=np.zeros(2),
        attention=rng.random(n).astype(np.float32),
        contributions=rng.normal(size=(n, 2)).astype(np.float32),
        patch_probabilities=rng.random((n, 2)).astype(np.float32),
        appearances=np.ones(n, dtype=np.float32),
        map_source="local branches",
        grid_id=grid.grid_id,
        run_id="run-0001",
        licences={"texture": "BSD-3-Clause"},
    ).save(source.prediction("run-0001", slide.slide_id))
    return source


def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets every text of the figures drawn from now on."""
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    found: list[str] = []
    plain = Figure.savefig

    def save(figure: Figure, *args: Any, **options: Any) -> None:
        found.extend(one.get_text() for one in figure.findobj(Text))
        plain(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", save)
    return found


def test_a_figure_has_the_asked_width_and_the_clusters_on_their_patches(
    source: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = texts(monkeypatch)
    path = tmp_path / "clusters.png"
    result = verb("figure", project=str(source.root), slide="a-slide", out=str(path), width_mm=80.0)
    assert result["figure"] == str(path)
    picture = Image.open(path)
    assert picture.width == round(80 / 25.4 * 300) == 945
    assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    slide = source.slides()[0]
    grid, labels = slide.load_grid(), load_clusters(slide.current_clusters())[0]
    pixels = np.asarray(picture.convert("RGB"), dtype=float)
    zoom = 945 / 2048
    top = first_row(pixels)
    seen = np.array([
        pixels[int(top + y * zoom) : int(top + (y + side) * zoom),
               int(x * zoom) : int((x + side) * zoom)].mean(axis=(0, 1))
        for (x, y), side in zip(grid.coords_xy, [grid.lattice.patch_l0] * len(grid), strict=True)
    ])  # fmt: skip
    tissue = read(source, grid)
    expected = 0.5 * tissue + 0.5 * 255 * cluster_colors(labels.max() + 1)[labels]
    assert np.abs(seen - expected).max() < 4, "half the slide and half the colour of the cluster"
    legend = [one for one in said if one.startswith("cluster ")]
    shares = np.bincount(labels) / len(labels)
    assert legend == [f"cluster {number} ({share:.1%})" for number, share in enumerate(shares)]
    assert any(one.endswith(" µm") for one in said), "a scale bar"
    foot = " ".join(said)
    assert RESEARCH_USE in foot
    assert LICENCE in foot


def first_row(pixels: np.ndarray) -> int:
    """Return where the picture begins: above it the page is white but for the title."""
    white = (pixels == 255).all(axis=2).mean(axis=1)
    blocks = np.flatnonzero(white == 1)
    return int(blocks[np.flatnonzero(np.diff(blocks) > 100)[0]]) + 1


def read(project: Project, grid: PatchGrid) -> np.ndarray:
    """Return the mean colour of each patch."""
    reader = project.slides()[0].open()
    try:
        side = round(grid.lattice.patch_l0)
        return np.array([
            reader.read_region((int(x), int(y)), 0, (side, side)).mean(axis=(0, 1))
            for x, y in grid.coords_xy
        ])  # fmt: skip
    finally:
        reader.close()


def test_a_view_is_drawn_alone_and_names_what_it_shows(
    source: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = source.slides()[0]
    grid, labels = slide.load_grid(), load_clusters(slide.current_clusters())[0]
    x, y = grid.coords_xy[0] + grid.lattice.patch_l0 / 4
    said = texts(monkeypatch)
    path = tmp_path / "view.tiff"
    view = f"{x},{y},100,50"
    options = {"project": str(source.root), "slide": "a-slide"}
    verb("figure", **options, out=str(path), view=view, width_mm=50.0)
    assert [one for one in said if one.startswith("cluster ")] == [
        f"cluster {labels[0]} ({(labels == labels[0]).mean():.1%})"
    ]
    assert Image.open(path).size[0] == round(50 / 25.4 * 300)
    with pytest.raises(ProjectError, match="The view shows nothing of a-slide"):
        verb("figure", **options, view="-500,-500,300,300")
    for wrong in ("1,2,3", "a,b,c,d", "0,0,0,5", "0,0,nan,5", "0,0,inf,5"):
        with pytest.raises(ConfigError, match="give four numbers of level-0 pixels"):
            verb("figure", **options, view=wrong)
    with pytest.raises(ConfigError, match=r"too large; give a smaller width"):
        verb("figure", **options, view="0,0,1,1700", width_mm=500.0)
    with pytest.raises(ConfigError, match="names no format"):
        verb("figure", **options, out=str(tmp_path / "figure.gif"))
    assert [one.name for one in tmp_path.iterdir()] == ["view.tiff"]


@pytest.mark.parametrize(
    ("what", "bar"),
    [
        ("agreement", "share of like patches in the same cluster, mean over the encoders (0 to 1)"),
        ("attention", "attention: share of the bag, 1 = average"),
        ("contribution", r"contribution to costs \$5 & \$6: part of the logit, red speaks for it"),
        ("prediction", r"probability of costs \$5 & \$6, by patch (0 to 1)"),
    ],
)
def test_a_map_has_a_bar_that_says_what_it_is(
    predicted: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, bar: str
) -> None:
    said = texts(monkeypatch)
    overlays: list[print_figure.Overlay] = []
    plain = print_figure._draw_picture

    def draw(axes: object, picture: object, region: object, overlay: object, grid: object) -> None:
        overlays.append(overlay)  # type: ignore[arg-type]
        plain(axes, picture, region, overlay, grid)  # type: ignore[arg-type]

    monkeypatch.setattr(print_figure, "_draw_picture", draw)
    path = tmp_path / f"{what}.pdf"
    options: dict[str, Any] = {"project": str(predicted.root), "slide": "a-slide"}
    options |= {"out": str(path), "width_mm": 100.0, "view": "0,0,1000,400"}
    verb("figure", **options, what=what, run="run-0001")
    assert path.read_bytes().startswith(b"%PDF")
    assert bar in said
    assert LICENCE in " ".join(said)
    (overlay,) = overlays
    low, high = overlay.limits
    assert low == {"contribution": -high}.get(what, 0.0)
    if what == "contribution":
        verb("figure", **options, what=what, run="run-0001", output="normal")
        assert not np.array_equal(overlays[1].raster, overlay.raster, equal_nan=True)
        with pytest.raises(ConfigError, match="has no output 'none'; it has normal, costs"):
            verb("figure", **options, what=what, run="run-0001", output="none")
        with pytest.raises(ProjectError, match="has no prediction by run-0002; run Predict"):
            verb("figure", **options, what=what, run="run-0002")


@pytest.mark.parametrize(
    ("what", "bar", "lowest"),
    [
        ("attention", "attention: percentile within the slide", 0.0),
        (
            "contribution",
            "percentile of its size, red speaks for it",
            -100.0,
        ),
    ],
)
def test_a_map_by_rank_is_the_one_that_the_window_shows(
    predicted: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    bar: str,
    lowest: float,
) -> None:
    said = texts(monkeypatch)
    overlays: list[print_figure.Overlay] = []
    plain = figures._map

    def draw(*given: Any) -> print_figure.Overlay:
        overlays.append(plain(*given))
        return overlays[-1]

    monkeypatch.setattr(figures, "_map", draw)
    options: dict[str, Any] = {"project": str(predicted.root), "slide": "a-slide", "what": what}
    verb(
        "figure",
        **options,
        out=str(tmp_path / "ranks.pdf"),
        width_mm=100.0,
        run="run-0001",
        by_rank=True,
    )
    assert bar in " ".join(" ".join(said).split())
    (overlay,) = overlays
    assert overlay.limits == (lowest, 100.0)
    known = overlay.raster[np.isfinite(overlay.raster)]
    assert np.abs(known).max() == pytest.approx(100.0)


@pytest.mark.parametrize("what", ["attention", "agreement", "clusters"])
def test_a_smooth_map_is_the_one_that_the_window_shows(
    predicted: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    said = texts(monkeypatch)
    rasters: list[Any] = []
    plain = print_figure.save_print

    def save(path: Path, picture: Any, region: Any, overlay: Any, *rest: Any, **more: Any) -> None:
        rasters.append(overlay.raster)
        plain(path, picture, region, overlay, *rest, **more)

    monkeypatch.setattr(figures, "save_print", save)
    options: dict[str, Any] = {"project": str(predicted.root), "slide": "a-slide", "what": what}
    for smooth in (False, True):
        out = str(tmp_path / f"{smooth}.png")
        verb("figure", **options, out=out, width_mm=60.0, run="run-0001", smooth=smooth)
    usual, drawn = rasters
    if what == "clusters":
        np.testing.assert_array_equal(drawn, usual)
    else:
        np.testing.assert_array_equal(drawn, smoothed(usual))
        assert drawn.shape[0] == 8 * usual.shape[0]
    told = " ".join(said).count("smoothed between patches")
    assert told == (what != "clusters")
    same = (tmp_path / "False.png").read_bytes() == (tmp_path / "True.png").read_bytes()
    assert same == (what == "clusters")


def test_merged_clusters_are_named_and_drawn_as_one(
    source: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = source.slides()[0]
    grid, found = slide.load_grid(), load_clusters(slide.current_clusters())[0]
    name = "a name that is too long for a column of an ordinary width $1"
    legend = Legend(n_clusters=4).renamed(2, name).recolored(2, "#ff0000").merged([2, 3])
    region = (0.0, 0.0, 1e6, 1e6)
    overlay = figures._clusters(grid, found, region, legend, "")
    share = f"{(found >= 2).mean():.1%}"
    assert (f"{name} ({share})", [1.0, 0.0, 0.0]) in overlay.legend
    assert len(overlay.legend) == 3
    assert overlay.title.startswith("3 clusters")
    column, row = grid.cells[np.flatnonzero(found == 3)[0]]
    assert overlay.raster[row, column].tolist() == [1, 0, 0, 1]

    store = slide.legend(slide.current_clusters())
    store.edit(lambda _usual: legend)
    said = texts(monkeypatch)
    out = str(tmp_path / "a.png")
    try:
        verb("figure", project=str(source.root), slide="a-slide", out=out, width_mm=120.0)
    finally:
        store.path.unlink()  # the project is the session's
    assert rf"{name} ({share})".replace("$", r"\$") in said, "whole, in a wider column"
