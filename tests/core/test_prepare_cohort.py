"""`prepare` on many slides: folders, tables, what is done already, and what fails."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from src_core import project as project_module
from src_core import slide_folder
from src_core.embeddings.known_pace import forecast, known_paces
from src_core.embeddings.store import EmbeddingStore
from src_core.encoders import encoder_card, register_encoder, registry
from src_core.errors import ConfigError, StorageFullError
from src_core.progress import never
from src_core.project import Project
from src_core.verbs import run_verb
from tests.core.plain_slides import prepare, write_slides


@pytest.fixture(scope="module")
def slide_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_slides(tmp_path_factory.mktemp("slides"))


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
