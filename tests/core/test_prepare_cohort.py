"""`prepare` on many slides: folders, tables, what is done already, and what is damaged."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from src_core import project as project_module
from src_core import slide_folder
from src_core.embeddings.extract import load_slide_embedding
from src_core.embeddings.known_pace import forecast, known_paces
from src_core.embeddings.store import EmbeddingStore
from src_core.encoders import encoder_card, register_encoder, registry
from src_core.errors import ConfigError, StorageFullError
from src_core.patches.grid import PatchGrid
from src_core.patches.unreadable import Unreadable
from src_core.progress import ignore, never
from src_core.project import Project
from src_core.provenance import file_fingerprint
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from src_core.verbs import run_verb


def prepare(root: Path, *slides: Path, **options: Any) -> dict[str, Any]:
    given = {"project": str(root), "slides": [str(slide) for slide in slides]}
    given |= {"encoders": ["texture"], "device": "cpu", **options}
    return run_verb("prepare", given, report=options.pop("report", ignore), stop=never)


@pytest.fixture(scope="module")
def slide_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("slides")
    paths = [folder / f"s{number}.tiff" for number in range(3)]
    for number, path in enumerate(paths):
        write_sample_slide(path, SyntheticSlide(size_px=(1536, 1536), seed=number))
    return paths


@pytest.fixture
def cohort(slide_files: list[Path], tmp_path: Path) -> Path:
    """A folder with slides at two depths, and things that are none."""
    folder = tmp_path / "cohort"
    (folder / "deeper").mkdir(parents=True)
    shutil.copy(slide_files[0], folder / "a.tiff")
    shutil.copy(slide_files[1], folder / "deeper" / "b.TIF")
    (folder / "notes.txt").write_text("no slide")
    (folder / ".hidden.svs").write_bytes(b"of the system")
    return folder


def test_a_folder_is_all_the_slides_in_it(cohort: Path, tmp_path: Path) -> None:
    result = prepare(cohort / "project", cohort, embed=False)
    assert sorted(result["patches"]) == ["a", "b"]
    assert result["failures"] == []
    assert result["passed_over"] == {".txt": 1}
    again = prepare(cohort / "project", cohort, embed=False)
    assert again == result, "what lies in the project is no slide of the cohort"


def test_a_damaged_slide_is_listed_and_the_others_are_done(cohort: Path) -> None:
    (cohort / "bad.svs").write_bytes(b"no slide")
    result = prepare(cohort / "project", cohort)
    assert sorted(result["patches"]) == ["a", "b"]
    (failure,) = result["failures"]
    assert failure["slide_id"] == "bad.svs"


def test_a_table_names_the_slides(cohort: Path, tmp_path: Path) -> None:
    table = cohort / "slides.csv"
    table.write_text("slide_id,path\nfirst,a.tiff\nsecond,deeper/b.TIF\ngone,c.tiff\n")
    result = prepare(tmp_path / "p", table, embed=False)
    assert sorted(result["patches"]) == ["first", "second"]
    (failure,) = result["failures"]
    assert (failure["slide_id"], "does not exist" in failure["message"]) == ("gone", True)
    assert not Project.open(tmp_path / "p").labels_path.exists(), "it is no table of labels"


def test_what_is_done_is_not_opened_again(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare(tmp_path / "p", cohort)
    pace = first.pop("embedding")  # of this run alone
    assert pace["patches"] == sum(first["patches"].values())
    assert pace["patches_per_second"] > 0
    assert 0 <= pace["waiting_for_slide"] <= 1
    opened: list[str] = []

    def opens(path: Any, **_: Any) -> Any:
        opened.append(str(path))
        raise AssertionError(f"{path} is opened")

    with monkeypatch.context() as patch:
        patch.setattr(project_module, "open_slide", opens)
        patch.setattr(slide_folder, "open_slide", opens)
        assert prepare(tmp_path / "p", cohort) == first
        del first["passed_over"]  # of a folder that is not looked into now
        assert prepare(tmp_path / "p") == first, "the slides of the project if none are named"
    assert opened == []
    changed = Project.open(tmp_path / "p")
    changed.reconfigured(changed.config.replace(grid={"min_tissue": 0.9}))
    assert prepare(tmp_path / "p", cohort)["patches"]["a"] < first["patches"]["a"]


def test_how_fast_this_machine_embeds_is_remembered(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "cache" / "pace.json"
    monkeypatch.setenv("FUSECPATH_PACE", str(kept))
    project = Project.create(tmp_path / "p")
    project.reconfigured(project.config.replace(grid={"patch_px": 128}))
    result = prepare(tmp_path / "p", cohort / "a.tiff")
    (pace,) = known_paces()
    assert pace.key == ("texture", "cpu", 128)
    (count,) = result["patches"].values()
    told = forecast({"texture": count}, patch_px=128).seconds
    took = count / result["embedding"]["patches_per_second"]
    assert took / 5 < told < took * 5, "machines are noisy"
    assert tmp_path.name not in kept.read_text(), "no paths"
    prepare(tmp_path / "p")
    assert known_paces() == [pace], "nothing was to do"


def test_progress_counts_the_whole_cohort_and_its_time(cohort: Path, tmp_path: Path) -> None:
    reports: list[Any] = []
    given = {"project": str(tmp_path / "p"), "slides": [str(cohort)], "encoders": ["texture"]}
    result = run_verb("prepare", given, report=reports.append, stop=never)
    told = [one for one in reports if one.stage == "Embedding patches"]
    done = [one.done for one in told]
    assert done == sorted(done)
    assert {one.total for one in told} == {sum(result["patches"].values())}
    assert done[-1] == told[-1].total
    assert any(one.seconds_left for one in told)
    assert {one.detail.split(",")[0] for one in told} == {"a", "b"}
    assert "waiting for the slide" in told[-1].detail


def _damage_tile(path: Path, *, level: int, x: int, y: int) -> None:
    """Overwrite a compressed tile of a TIFF file, as a bad disk would."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[level]
        across = -(-page.imagewidth // page.tilewidth)  # type: ignore[union-attr]
        index = y // page.tilelength * across + x // page.tilewidth  # type: ignore[union-attr]
        start, length = page.dataoffsets[index], page.databytecounts[index]  # type: ignore[union-attr]
    with path.open("r+b") as stream:
        stream.seek(start)
        stream.write(b"\0" * length)


def _jpeg_slide(path: Path, source: Path, *, is_pyramid: bool) -> None:
    """Write the pixels of a synthetic slide as JPEG tiles, with one coarse level or none."""
    with tifffile.TiffFile(source) as file:
        pixels = file.pages[0].asarray()
    with tifffile.TiffWriter(path) as writer:
        kwargs: Any = {"tile": (256, 256), "compression": "jpeg", "photometric": "rgb"}
        scale: Any = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
        writer.write(pixels, **kwargs, **scale)
        if is_pyramid:
            writer.write(pixels[::4, ::4], subfiletype=1, **kwargs)


def _inside_a_patch(root: Path) -> tuple[int, int]:
    slide = Project.open(root).slide("jpeg")
    grid = slide.load_grid()
    x, y = grid.coords_xy[len(grid) // 2].tolist()
    return x + 100, y + 100


def _as_it_is(root: Path) -> None:
    """Let the project know its slide by what the file holds now, be it damaged or mended."""
    for slide in Project.open(root).slides():
        slide.remember(fingerprint=file_fingerprint(root / slide.record.path))


@pytest.mark.parametrize("is_pyramid", [True, False])
def test_a_damaged_tile_costs_its_patches_and_is_told(
    slide_files: list[Path], tmp_path: Path, is_pyramid: bool
) -> None:
    path, root = tmp_path / "jpeg.tiff", tmp_path / "p"
    _jpeg_slide(path, slide_files[0], is_pyramid=is_pyramid)
    sound = path.read_bytes()
    prepared = prepare(root, path, embed=False)
    whole = prepared["patches"]["jpeg"]
    slide = Project.open(root).slide("jpeg")
    x, y = _inside_a_patch(root)
    _damage_tile(path, level=0, x=x, y=y)
    _as_it_is(root)
    result = prepare(root, encoders=["texture", "lite0"])
    assert result.pop("embedding")["patches"] > 0
    (failure,) = result["failures"]
    assert failure["slide_id"] == "jpeg"
    lost = result["unreadable"]["jpeg"]
    assert 1 <= lost <= 4
    assert failure["message"].startswith(f"{lost} patches cannot be read")
    assert str(path) in failure["message"]
    assert result["patches"]["jpeg"] == whole - lost
    grid = slide.load_grid()
    noted = Unreadable.load(slide.grid(grid.grid_id), grid)
    assert noted is not None
    corners = grid.lattice.corners(noted.cells)
    side = grid.lattice.patch_l0
    assert ((corners <= (x, y)) & (corners + side > (x, y))).all(axis=1).any(), "the very place"
    assert f"({corners[0][0]}, {corners[0][1]})" in failure["message"]
    flagged = result["flagged"]["jpeg"]
    assert flagged == prepared["flagged"]["jpeg"], "what cannot be read has no flaw"
    run_verb("cluster", {"project": str(root), "n_clusters": 2}, report=ignore, stop=never)
    clusters = slide.record.clusters_id
    assert clusters is not None, "what is behind works on the patches that are there"
    assert prepare(root, encoders=["texture", "lite0"]) == result, "told until it is mended"
    assert slide.record.clusters_id == clusters
    path.write_bytes(sound)
    _as_it_is(root)
    mended = prepare(root, encoders=["texture", "lite0"])
    assert (mended["failures"], mended["patches"]) == ([], {"jpeg": whole})
    assert "unreadable" not in mended
    grid = slide.load_grid()
    for name in ("texture", "lite0"):
        store = EmbeddingStore(slide.embeddings(grid.lattice_id))
        assert len(store.view(name, grid.cells)) == whole


@pytest.mark.parametrize("teacher", ["mean-texture", "coarse-texture"])
def test_a_mean_is_of_the_patches_that_can_be_read(
    slide_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teacher: str
) -> None:
    """On the project's patches, and on those of 224 px at 1 µm that a teacher has for itself."""
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    card = dataclasses.replace(
        encoder_card("mean-texture"), name="coarse-texture", own_lattice=True, patch_px=224, mpp=1.0
    )
    register_encoder(card, loader="src_core.encoders.slide_encoders:load_mean")
    path, root = tmp_path / "jpeg.tiff", tmp_path / "p"
    _jpeg_slide(path, slide_files[0], is_pyramid=True)
    sound = path.read_bytes()
    prepare(root, path, embed=False)
    x, y = _inside_a_patch(root)
    _damage_tile(path, level=0, x=x, y=y)
    _as_it_is(root)

    def mean() -> tuple[PatchGrid, NDArray[np.float32]]:
        vector, meta = load_slide_embedding(slide.slide_embedding(teacher))
        grid = PatchGrid.load(slide.grid(meta["grid_id"]))
        rows = EmbeddingStore(slide.embeddings(grid.lattice_id)).view("texture", grid.cells).array()
        np.testing.assert_allclose(vector, rows.mean(axis=0, dtype=np.float64), rtol=1e-6)
        return grid, vector

    result = prepare(root, encoders=["texture"], teachers=[teacher])
    slide = Project.open(root).slide("jpeg")
    own = [one["message"] for one in result["failures"] if one["message"].startswith(teacher)]
    assert len(own) == int(teacher == "coarse-texture")
    assert all("cannot be read" in one["message"] for one in result["failures"])
    partly, vector = mean()
    corners, side = partly.coords_xy, partly.lattice.patch_l0
    assert not ((corners <= (x, y)) & (corners + side > (x, y))).all(axis=1).any()
    again = prepare(root, encoders=["texture"], teachers=[teacher])
    assert len(again["failures"]) == len(result["failures"]), "told until it is mended"
    mean()
    path.write_bytes(sound)
    _as_it_is(root)
    assert prepare(root, encoders=["texture"], teachers=[teacher])["failures"] == []
    whole, mended = mean()
    assert len(whole) > len(partly)
    assert not np.array_equal(mended, vector)


def test_a_table_gives_each_slide_its_scale_and_auto_takes_it_back(
    cohort: Path, tmp_path: Path
) -> None:
    table, root = tmp_path / "slides.csv", tmp_path / "p"
    table.write_text(f"path;mpp;label\n{cohort / 'a.tiff'};0,4;x\n{cohort / 'deeper/b.TIF'};;y\n")
    prepare(root, labels=str(table), embed=False)
    project = Project.open(root)
    scales = [(one.record.mpp, one.record.mpp_source) for one in project.slides()]
    own = scales[1][0]
    assert scales == [(0.4, "user"), (own, "openslide")]
    assert own != 0.4
    assert project.labels().targets == ("label",)
    assert [row.mpp for row in project.labels().rows] == [0.4, None]
    for names in ([cohort], []):
        with pytest.raises(ConfigError, match=r"for one slide, and there are 2; .* mpp"):
            prepare(root, *names, slide_mpp=0.3, embed=False)
    prepare(root, cohort / "a.tiff", slide_mpp=0.3, embed=False)
    assert project.slide("a").record.mpp == 0.3
    prepare(root, slide_mpp="auto", embed=False)
    assert [(one.record.slide_mpp, one.record.mpp) for one in project.slides()] == [(None, own)] * 2


def test_a_slide_whose_pixels_cannot_be_read_at_all(
    shared_data: Path, slide_files: list[Path], tmp_path: Path
) -> None:
    """OpenSlide opens this file and fails to decode it."""
    bad = shared_data / "slides" / "openslide-python" / "unreadable.svs"
    if not bad.is_file():
        pytest.skip(f"{bad} is missing")
    table = tmp_path / "slides.csv"
    table.write_text(f"path,mpp\n{bad},0.5\n{slide_files[0]},\n")
    result = prepare(tmp_path / "p", table)
    assert list(result["patches"]) == ["s0"]
    (failure,) = result["failures"]
    assert "unreadable" in failure["message"]


def test_a_vanished_slide_is_told_and_the_next_is_done(cohort: Path, tmp_path: Path) -> None:
    prepare(tmp_path / "p", cohort, embed=False)
    (cohort / "a.tiff").unlink()
    result = prepare(tmp_path / "p")
    (failure,) = result["failures"]
    assert failure["slide_id"] == "a"
    assert "no longer at" in failure["message"]
    slide = Project.open(tmp_path / "p").slide("b")
    grid = slide.load_grid()
    store = EmbeddingStore(slide.embeddings(grid.lattice_id))
    assert not store.missing("texture", grid.cells).any()


def test_an_encoder_that_cannot_be_had_leaves_the_others_at_work(
    slide_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from src_core import embedder
    from src_core.encoders import registry
    from src_core.errors import WeightsUnavailableError

    original = registry.create_encoder
    gone = {"lite0"}

    def refuses(name: str, **options: Any) -> Any:
        if name in gone:
            raise WeightsUnavailableError(f"The weights of {name} are gone.")
        return original(name, **options)

    monkeypatch.setattr(embedder, "create_encoder", refuses)
    result = prepare(tmp_path / "p", *slide_files[:2], encoders=["lite0", "texture"])
    told = [(one["slide_id"], one["message"]) for one in result["failures"]]
    assert told == [(name, "The weights of lite0 are gone.") for name in ("s0", "s1")]
    for slide in Project.open(tmp_path / "p").slides():
        grid = slide.load_grid()
        store = EmbeddingStore(slide.embeddings(grid.lattice_id))
        assert not store.missing("texture", grid.cells).any()
    with pytest.raises(WeightsUnavailableError):
        prepare(tmp_path / "q", slide_files[0], encoders=["lite0"])
    gone.add("texture")
    both = "None of lite0, texture can be had: .* lite0 are gone. .* texture are gone."
    with pytest.raises(WeightsUnavailableError, match=both):
        prepare(tmp_path / "q", slide_files[0], encoders=["lite0", "texture"])


def test_a_full_disk_ends_the_cohort_at_once(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from src_core.embeddings import writer

    tried: list[Path] = []

    def full(path: Path, *_: Any) -> None:
        tried.append(path)
        raise StorageFullError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(writer, "write_array", full)
        with pytest.raises(StorageFullError, match=r"The disk is full\..* MB"):
            prepare(tmp_path / "p", cohort)
    assert {path.relative_to(tmp_path / "p").parts[1] for path in tried} == {"a"}
    assert prepare(tmp_path / "p", cohort)["failures"] == []


@pytest.mark.parametrize(
    "cells", [3, [[1]], [[1, 2, 3]], [["1", "2"]], [[-1, 0]], [[0, 10**6]], [[True, 0]]]
)
def test_a_damaged_note_is_refused(slide_files: list[Path], tmp_path: Path, cells: Any) -> None:
    from src_core.errors import ProjectError

    prepare(tmp_path / "p", slide_files[0], embed=False)
    slide = Project.open(tmp_path / "p").slide("s0")
    grid = slide.load_grid()
    values = {"tissue_id": grid.tissue_id, "cells": cells, "reason": "x"}
    folder = slide.grid(grid.grid_id)
    (folder / "unreadable.json").write_text(json.dumps(values))
    with pytest.raises(ProjectError, match=r"unreadable\.json is damaged"):
        Unreadable.load(folder, grid)
    (folder / "unreadable.json").write_text(json.dumps({**values, "tissue_id": "other"}))
    assert Unreadable.load(folder, grid) is None, "of another mask"


def test_what_is_left_out_and_taken_back_is_the_same_grid(
    slide_files: list[Path], tmp_path: Path
) -> None:
    prepare(tmp_path / "p", slide_files[0], embed=False)
    grid = Project.open(tmp_path / "p").slide("s0").load_grid()
    some = grid.cells[[0, 3, len(grid) - 1]]
    less = grid.without(some)
    assert len(less) == len(grid) - 3
    assert less.grid_id != grid.grid_id
    assert less.joined(some).grid_id == less.joined(np.flip(some, axis=0)).grid_id == grid.grid_id


def test_tissue_is_found_around_damage(slide_files: list[Path], tmp_path: Path) -> None:
    """A slide of one level, damaged before anything is known of it: each tile is read twice."""
    path, root = tmp_path / "jpeg.tiff", tmp_path / "p"
    _jpeg_slide(path, slide_files[0], is_pyramid=False)
    sound = prepare(tmp_path / "sound", path, embed=False)
    x, y = _inside_a_patch(tmp_path / "sound")
    _damage_tile(path, level=0, x=x, y=y)
    result = prepare(root, path)
    (failure,) = result["failures"]
    assert "patches cannot be read" in failure["message"]
    lost = result["unreadable"]["jpeg"]
    assert 1 <= lost <= 4
    assert result["patches"]["jpeg"] + lost >= sound["patches"]["jpeg"]
    mask = Project.open(root).slide("jpeg").load_tissue()
    assert 0 < mask.recipe["unreadable_px"] < 0.1 * mask.mask.size


def test_patches_of_another_scale_are_noted_once_an_encoder(
    slide_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = dataclasses.replace(encoder_card("texture"), name="made-for-20x", mpp=0.5, patch_px=224)
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    register_encoder(toy, loader="src_core.encoders.texture:load_texture")
    options: dict[str, Any] = {"encoders": ["texture", "made-for-20x"]}
    assert "notes" not in prepare(tmp_path / "p", *slide_files[:2], **options)
    coarse = ["grid.mpp=4", "grid.patch_px=64"]
    result = prepare(tmp_path / "p", set=coarse, **options)
    assert result["failures"] == []
    assert list(result["notes"]) == ["texture", "made-for-20x"]
    assert "(256 µm across)" in result["notes"]["made-for-20x"]
    assert "notes" not in prepare(tmp_path / "p", embed=False)


def test_workers_are_handed_absolute_paths(
    slide_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: dict[str, Any] = {}

    def on_cluster(address: str, project: Project, wishes: Any, **_: Any) -> list[Any]:
        handed.update(wishes)
        return []

    monkeypatch.setattr("src_core.verbs.prepare.prepare_on_cluster", on_cluster)
    monkeypatch.chdir(tmp_path)
    Path("outlines").mkdir()
    for name in ("outlines/s0.geojson", "one.geojson"):
        Path(name).write_text("[]")
    brought = {"tissue": "one.geojson", "roi": "outlines", "scheduler": "tcp://nowhere:1"}
    prepare(Path("p"), slide_files[0], **brought)
    assert handed["s0"].tissue == tmp_path / "one.geojson"
    assert handed["s0"].roi == tmp_path / "outlines" / "s0.geojson"
