"""Own tissue, regions of interest and flaws: what a person brings is used, kept and never lost."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from src_core.embeddings.store import EmbeddingStore
from src_core.errors import ConfigError, ProjectError, TooFewPatchesError
from src_core.geojson import Polygon, read_polygons, write_polygons
from src_core.preparing import Prepared, Wishes, find_tissue, load_flags, paint_tissue
from src_core.progress import ignore, never
from src_core.project import Project, ProjectConfig, SlideFolder
from src_core.regions import keep_roi
from src_core.tissue.mask import TissueMask
from src_core.verbs import run_verb


def outline(x: float, y: float, width: float, height: float) -> Polygon:
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    return Polygon(exterior=np.array(corners, float))


HALF = outline(0, 0, 1100, 2967)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "p", ProjectConfig(encoders=("texture",)))


@pytest.fixture
def slide(project: Project, small_slide: Path) -> SlideFolder:
    return project.add_slide(small_slide, slide_id="a")


@pytest.fixture
def half(tmp_path: Path) -> Path:
    path = tmp_path / "half.geojson"
    write_polygons(path, [HALF])
    return path


def find(project: Project, slide: SlideFolder, **wishes: Any) -> Prepared:
    return find_tissue(project, slide, Wishes(**wishes), report=ignore, stop=never)


def run(**options: Any) -> dict[str, Any]:
    options = {"embed": False, **options}
    return run_verb("prepare", options, report=ignore, stop=never)


def test_own_tissue_is_used_kept_and_found_again_only_when_asked(
    project: Project, slide: SlideFolder, half: Path
) -> None:
    found = find(project, slide)
    own = find(project, slide, tissue=half)
    mask = slide.load_tissue()
    assert mask.recipe["source"] == "imported"
    assert mask.recipe["file"] == "half.geojson"
    assert (own.grid.coords_xy[:, 0] + own.grid.lattice.patch_l0 / 2 <= 1110).all()
    assert own.grid.lattice_id == found.grid.lattice_id
    assert find(project, slide).grid.grid_id == own.grid.grid_id, "it is kept"
    other = project.reconfigured(
        project.config.replace(tissue=project.config.tissue.replace(mpp=16.0).to_dict())
    )
    assert find(other, slide).grid.grid_id == own.grid.grid_id, "whatever the settings are"
    assert find(project, slide, is_fresh=True).grid.grid_id == found.grid.grid_id
    assert TissueMask.load(slide.tissue(mask.tissue_id)).is_by_hand, "and it is still there"


def test_own_tissue_that_covers_nothing_is_called_that(
    project: Project, slide: SlideFolder, tmp_path: Path
) -> None:
    find(project, slide)
    before = slide.record
    write_polygons(tmp_path / "other.geojson", [outline(50_000, 60_000, 900, 900)])
    with pytest.raises(TooFewPatchesError) as brought:
        find(project, slide, tissue=tmp_path / "other.geojson")
    with pytest.raises(TooFewPatchesError) as painted:
        paint_tissue(project, slide, slide.load_tissue().edited(slide.load_tissue().mask & False))
    assert "your own tissue (other.geojson) covers nothing" in str(brought.value)
    assert "level-0 pixels" in str(brought.value)
    assert "nothing is painted as tissue" in str(painted.value)
    for told in (brought, painted):
        assert "threshold" not in str(told.value), "none was used"
    assert slide.record == before


def test_a_mask_lies_where_the_outline_does(
    project: Project, slide: SlideFolder, tmp_path: Path
) -> None:
    hole = outline(700, 900, 400, 400).exterior
    whole = Polygon(exterior=outline(300, 500, 1200, 1600).exterior, holes=(hole,))
    write_polygons(tmp_path / "own.geojson", [whole])
    find(project, slide, tissue=tmp_path / "own.geojson")
    mask = slide.load_tissue()
    area = mask.mask.sum() * mask.pixel_xy[0] * mask.pixel_xy[1]
    assert area == pytest.approx(1200 * 1600 - 400 * 400, rel=0.01)
    assert mask.coverage([(720, 920)], 300)[0] == 0
    assert mask.coverage([(320, 520)], 300)[0] == 1


def test_a_region_of_interest_cuts_the_grid_and_can_be_lifted(
    project: Project, slide: SlideFolder, half: Path
) -> None:
    whole = find(project, slide).grid
    painted = slide.load_tissue().edited(np.ones_like(slide.load_tissue().mask))
    full = paint_tissue(project, slide, painted)
    part = find(project, slide, roi=half).grid
    assert part.lattice_id == whole.lattice_id
    assert set(map(tuple, part.cells.tolist())) < set(map(tuple, full.cells.tolist()))
    assert (part.coords_xy[:, 0] < 1100).all()
    assert slide.load_tissue().tissue_id == painted.tissue_id, "the tissue stays whole"
    roi_id = slide.record.roi_id
    assert roi_id is not None
    (stored,) = read_polygons(slide.roi(roi_id))
    assert (stored.exterior == HALF.exterior).all()
    assert find(project, slide).grid.grid_id == part.grid_id, "it is kept"
    assert paint_tissue(project, slide, painted).grid_id == part.grid_id
    assert find(project, slide, is_whole=True).grid.grid_id == full.grid_id
    assert slide.record.roi_id is None


def test_a_region_cuts_the_grid_where_glass_is_wanted_too(
    project: Project, slide: SlideFolder, tmp_path: Path
) -> None:
    changed = project.config.grid.replace(min_tissue=0.0)
    project = project.reconfigured(project.config.replace(grid=changed.to_dict()))
    whole = find(project, slide).grid
    assert len(whole) == 88
    write_polygons(tmp_path / "corner.geojson", [outline(300, 300, 500, 260)])
    part = find(project, slide, roi=tmp_path / "corner.geojson").grid
    corners, side = part.coords_xy, part.lattice.patch_l0
    assert sorted({*corners[:, 0].tolist()}) == [round(side), round(2 * side), round(3 * side)]
    assert sorted({*corners[:, 1].tolist()}) == [round(side), round(2 * side)]
    write_polygons(tmp_path / "glass.geojson", [outline(1900, 100, 200, 200)])
    glass = find(project, slide, roi=tmp_path / "glass.geojson").grid
    assert len(glass) == 2, "of glass alone too"
    write_polygons(tmp_path / "beside.geojson", [outline(9000, 100, 200, 200)])
    with pytest.raises(TooFewPatchesError, match="no patch touches the region"):
        find(project, slide, roi=tmp_path / "beside.geojson")


def test_a_region_without_tissue_is_said_and_changes_nothing(
    project: Project, slide: SlideFolder, tmp_path: Path
) -> None:
    find(project, slide)
    before = slide.record
    write_polygons(tmp_path / "glass.geojson", [outline(1900, 100, 200, 200)])
    with pytest.raises(TooFewPatchesError, match="0 patches, because the region"):
        find(project, slide, roi=tmp_path / "glass.geojson")
    write_polygons(tmp_path / "none.geojson", [])
    with pytest.raises(TooFewPatchesError, match="no polygon"):
        find(project, slide, roi=tmp_path / "none.geojson")
    assert slide.record == before


def strict(project: Project, **quality: Any) -> Project:
    changed = project.config.quality.replace(**quality)
    return project.reconfigured(project.config.replace(quality=changed.to_dict()))


def test_flaws_are_counted_and_exclude_only_when_asked(
    project: Project, slide: SlideFolder
) -> None:
    plain = find(project, slide)
    assert plain.flagged == {"blur": 0, "pen": 0, "fold": 0, "background": 0}
    assert plain.excluded == {}
    project = strict(project, min_sharpness=6.7)
    shown = find(project, slide)
    n = shown.flagged["blur"]
    assert 0 < n < len(shown.grid)
    assert shown.grid.grid_id == plain.grid.grid_id, "a flag excludes nothing by itself"
    project = strict(project, exclude=["blur"])
    cut = find(project, slide)
    assert len(cut.grid) == len(plain.grid) - n
    assert cut.excluded == {"blur": n}
    assert cut.grid.lattice_id == plain.grid.lattice_id
    assert slide.load_grid().grid_id == cut.grid.grid_id
    stored = load_flags(slide, project.config.quality)
    assert stored is not None
    grid, flags = stored
    assert grid.grid_id == plain.grid.grid_id
    assert (flags == 1).sum() == n


def test_the_slide_is_read_once_for_all_thresholds(
    project: Project, slide: SlideFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    find(project, slide)

    def never_again(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the slide was read again")

    monkeypatch.setattr("src_core.preparing.measure_quality", never_again)
    find(strict(project, min_sharpness=6.0, max_fold=0.1), slide)


def test_no_patch_left_says_why(project: Project, slide: SlideFolder) -> None:
    find(project, slide)
    before = slide.record
    project = strict(project, exclude=["blur", "pen"], min_sharpness=99.0)
    with pytest.raises(
        TooFewPatchesError, match=r"0 patches, because of 32 .* 32 blurred; .*allow"
    ):
        find(project, slide)
    assert slide.record == before


def test_fluorescence_is_not_judged(project: Project, shared_data: Path, tmp_path: Path) -> None:
    slide = project.add_slide(shared_data / "slides" / "test3-DAPI-2-387.ndpi", slide_id="dapi")
    write_polygons(tmp_path / "own.geojson", [outline(500, 500, 2500, 2500)])
    prepared = find(project, slide, tissue=tmp_path / "own.geojson")
    assert len(prepared.grid) > 0
    assert prepared.flagged == {}
    assert prepared.is_unjudged
    assert load_flags(slide, project.config.quality) is None


@pytest.mark.parametrize("kind", ["grey", "fluorescence"])
def test_what_has_no_colours_of_a_stain_is_not_embedded_on_own_tissue_either(
    tmp_path: Path, kind: str
) -> None:
    shade = np.random.default_rng(0).integers(120, 255, (1024, 1024)).astype(np.uint8)
    path, own = tmp_path / "dull.tiff", tmp_path / "own.geojson"
    tifffile.imwrite(path, shade if kind == "grey" else shade // 8, photometric="minisblack")
    write_polygons(own, [outline(0, 0, 1024, 1024)])
    root = str(tmp_path / "q")
    options: dict[str, Any] = {"project": root, "encoders": ["texture"], "teachers": []}
    brought = {"slides": [str(path)], "slide_mpp": 0.5, "tissue": str(own)}
    result = run(**options, **brought, embed=True)
    (failure,) = result["failures"]
    assert failure["slide_id"] == "dull"
    assert f"dull.tiff is a {kind} slide" in failure["message"]
    assert "import embeddings" in failure["message"]
    assert result["patches"] == {"dull": 16}, "other programs may embed them"
    assert "not judged for flaws" in result["notes"]["dull"]
    slide = Project.open(root).slide("dull")
    grid = slide.load_grid()
    store = EmbeddingStore(slide.embeddings(grid.lattice_id))
    assert store.encoders() == ()
    writer = store.open_writer("theirs", {"imported": "STAMP", "encoder": "theirs"}, 8)
    writer.append(grid.cells, np.zeros((16, 8), np.float32))
    writer.commit()
    project = Project.open(root)
    project.reconfigured(project.config.replace(encoders=["theirs"]))
    again = run(project=root, embed=True)
    assert again["failures"] == [], "what was imported needs no colours"


def test_what_is_judged_is_not_noted(tmp_path: Path, small_slide: Path) -> None:
    result = run(project=str(tmp_path / "q"), slides=[str(small_slide)], encoders=["texture"])
    assert "notes" not in result


def test_prepare_takes_files_and_folders(
    tmp_path: Path, small_slide: Path, half: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "q"
    whole = run(project=str(root), slides=[str(small_slide)], encoders=["texture"])
    (name,) = whole["patches"]
    part = run(project=str(root), roi=str(half))
    assert part["patches"][name] < whole["patches"][name]
    assert part["flagged"][name]["pen"] == 0
    folder = tmp_path / "masks"
    folder.mkdir()
    failed = run(project=str(root), tissue=str(folder))
    assert f"has no {name}.geojson" in failed["failures"][0]["message"]
    write_polygons(folder / f"{name}.geojson", [HALF])
    own = run(project=str(root), tissue=str(folder), whole_slide=True)
    assert own["failures"] == []
    assert Project.open(root).slide(name).load_tissue().recipe["source"] == "imported"
    again = run(project=str(root), fresh_tissue=True)
    assert again["patches"] == whole["patches"]


def test_what_contradicts_itself_is_refused(
    tmp_path: Path, slide: SlideFolder, project: Project, half: Path, shared_data: Path
) -> None:
    root = str(project.root)
    with pytest.raises(ConfigError, match="not both"):
        run(project=root, tissue=str(half), fresh_tissue=True)
    with pytest.raises(ConfigError, match="not both"):
        run(project=root, roi=str(half), whole_slide=True)
    with pytest.raises(ConfigError, match="does not exist"):
        run(project=root, roi=str(tmp_path / "nowhere.geojson"))
    project.add_slide(shared_data / "slides" / "test3-DAPI-2-387.ndpi")
    with pytest.raises(ConfigError, match="there are 2"):
        run(project=root, roi=str(half))


def test_settings_are_changed_by_name_and_kept(project: Project, slide: SlideFolder) -> None:
    few = run(project=str(project.root), set=["tissue.threshold=0.5", "grid.patch_px=224"])
    config = Project.open(project.root).config
    assert config.tissue.threshold == 0.5
    assert config.grid.patch_px == 224
    more = run(project=str(project.root), set=["tissue.threshold=", "quality.exclude=blur,pen"])
    config = Project.open(project.root).config
    assert config.tissue.threshold is None
    assert config.quality.exclude == ("blur", "pen")
    assert config.grid.patch_px == 224
    assert few["patches"].get("a", 0) < more["patches"]["a"]


def test_a_damaged_record_points_nowhere(project: Project, slide: SlideFolder) -> None:
    find(project, slide)
    path = slide.root / "slide.json"
    for key in ("roi_id", "candidates_id"):
        slide.remember(**{key: "0123456789abcdef"})
        text = path.read_text()
        path.write_text(text.replace("0123456789abcdef", "../../x"))
        with pytest.raises(ProjectError, match="no artifact"):
            find(project, slide)
        path.write_text(text)
        slide.remember(**{key: None})


def test_a_missing_region_is_said(project: Project, slide: SlideFolder, half: Path) -> None:
    find(project, slide, roi=half)
    roi_id = slide.record.roi_id
    assert roi_id is not None
    slide.roi(roi_id).unlink()
    with pytest.raises(ProjectError, match="is missing"):
        find(project, slide)


def test_a_region_is_taken_one_polygon_at_a_time(slide: SlideFolder) -> None:
    """A cell segmentation given as region holds a million outlines."""
    alive: set[int] = set()
    most = 0

    def outlines() -> Iterator[Polygon]:
        nonlocal most
        for number in range(500):
            polygon = outline(number, 0, 1, 1)
            alive.add(number)
            weakref.finalize(polygon.exterior, alive.discard, number)
            most = max(most, len(alive))
            yield polygon

    roi_id = keep_roi(slide, outlines())
    assert most < 10
    assert keep_roi(slide, [outline(number, 0, 1, 1) for number in range(500)]) == roi_id
    assert len(list(read_polygons(slide.roi(roi_id)))) == 500
    with pytest.raises(TooFewPatchesError, match="has no polygon"):
        keep_roi(slide, [])
    assert list(slide.roi(roi_id).parent.iterdir()) == [slide.roi(roi_id)]
