"""Real slides the whole way, and real files that must be refused."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src_core.embeddings.store import EmbeddingStore
from src_core.errors import FusecpathError
from src_core.project import Project
from src_core.slides.factory import open_slide

REFUSED = (
    "broken-histolab.svs",
    "openslide-python/unopenable.tiff",
    "openslide-python/unreadable.svs",
    "openslide-python/small.svs",
    "openslide-python/boxes.tiff",
    "test3-DAPI-2-387.ndpi",
)
"""Not slides, not readable, too small for one patch, without a scale, or not H&E."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, small_slide: Path, run) -> Project:
    """The SVS and its DICOM twin, embedded by texture statistics and clustered."""
    root = tmp_path_factory.mktemp("real") / "project"
    twin = small_slide.parent / "dicom-CMU-1-Small-Region"
    slides = [small_slide, twin]
    result = run("prepare", project=root, slides=slides, encoders=["texture"])
    assert result["failures"] == []
    run("cluster", project=root, n_clusters=6)
    return Project.open(root)


def test_svs_and_dicom_twin_have_the_same_pixels(prepared: Project) -> None:
    """Each pixel of the twin is the SVS's, after the JPEG (quality 90, 4:2:0) that made it."""
    svs, dicom = (
        open_slide(prepared.slide(name).record.path)
        for name in ("CMU-1-Small-Region", "dicom-CMU-1-Small-Region")
    )
    assert svs.properties.level_dimensions == dicom.properties.level_dimensions == ((2220, 2967),)
    assert svs.properties.mpp == pytest.approx(dicom.properties.mpp, rel=1e-3)
    tile = 240  # of both files; columns and rows that are cut at the edge were padded anyhow
    for y in range(0, 2967 - tile, tile):
        for x in range(0, 2220 - tile, tile):
            one = svs.read_region((x, y), 0, (tile, tile))
            with BytesIO() as file:
                Image.fromarray(one).save(file, "JPEG", quality=90, subsampling="4:2:0")
                again = np.asarray(Image.open(file))
            np.testing.assert_array_equal(dicom.read_region((x, y), 0, (tile, tile)), again)


def test_svs_and_dicom_twin_have_the_same_cells(prepared: Project) -> None:
    svs, dicom = (
        prepared.slide(name) for name in ("CMU-1-Small-Region", "dicom-CMU-1-Small-Region")
    )
    one, other = svs.load_grid(), dicom.load_grid()
    assert len(one) > 25
    assert one.lattice_id == other.lattice_id
    np.testing.assert_array_equal(one.cells, other.cells)


def test_patches_are_clustered(prepared: Project) -> None:
    from src_core.clustering.result import load_clusters

    slide = prepared.slide("CMU-1-Small-Region")
    labels, meta = load_clusters(slide.current_clusters())
    assert len(labels) == len(slide.load_grid())
    n_clusters = len(labels) // 10  # a small slide cannot fill six clusters of ten patches
    assert 1 < meta["n_clusters"] == n_clusters < 6
    assert set(np.unique(labels)) == set(range(n_clusters))


def test_again_nothing_is_done_twice(prepared: Project, run) -> None:
    slide = prepared.slide("CMU-1-Small-Region")
    store = slide.embeddings(slide.load_grid().lattice_id)
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*.npy")}
    run("prepare", project=prepared.root)
    run("cluster", project=prepared.root)
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*.npy")} == before


def test_painting_embeds_only_what_is_new(tmp_path: Path, small_slide: Path, run) -> None:
    from src_core.preparing import paint_tissue

    run("prepare", project=tmp_path / "p", slides=[small_slide], encoders=["texture"])
    project = Project.open(tmp_path / "p")
    slide = project.slides()[0]
    grid, mask = slide.load_grid(), slide.load_tissue()
    full = mask.edited(np.ones_like(mask.mask))
    painted = paint_tissue(project, slide, full)
    store = EmbeddingStore(slide.embeddings(painted.lattice_id))
    missing = store.missing("texture", painted.cells)
    assert painted.lattice_id == grid.lattice_id
    assert missing.sum() == len(painted) - len(grid) > 0
    run("prepare", project=project.root)
    assert slide.load_grid().grid_id == painted.grid_id, "a painted mask is kept"
    assert not store.missing("texture", painted.cells).any()


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_slide_is_refused_by_name(
    name: str, shared_data: Path, tmp_path: Path, run
) -> None:
    path = shared_data / "slides" / name
    root = tmp_path / "p"
    result = run("prepare", project=root, slides=[path], encoders=["texture"])
    (failure,) = result["failures"]
    assert Path(name).stem in failure["message"], "the sentence names the file"
    assert "\n" not in failure["message"]
    assert not [file for file in root.rglob("*") if file.suffix in (".npy", ".tmp")]


def test_a_missing_project_is_one_sentence(tmp_path: Path, run) -> None:
    with pytest.raises(FusecpathError, match="is not a project"):
        run("cluster", project=tmp_path / "nowhere")
