"""Teachers over slides: what is stored kept, memory asked for, one failure alone."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src_core import teachers
from src_core.cohorts import load_cohort
from src_core.embeddings.extract import load_slide_embedding
from src_core.embeddings.store import EmbeddingStore
from src_core.encoders import encoder_card, register_encoder, registry, remote_code, remote_slides
from src_core.encoders.remote_code import agree
from src_core.encoders.slide_encoders import MeanSlideEncoder
from src_core.errors import ConfigError, JobCancelled, ProjectError, UnknownEncoderError
from src_core.pipeline import embed_slides
from src_core.progress import Progress, ignore, never
from src_core.project import Project
from src_core.teacher_imports import import_slide_embedding
from tests.core.coarse_teacher import COARSE, files, prepared, register_coarse, run, write_slide


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    register_coarse(monkeypatch)


@pytest.fixture(scope="module")
def slide_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slides"))


def test_one_teacher_that_fails_leaves_the_others(tmp_path: Path, slide_file: Path) -> None:
    project, slide, result = prepared(
        tmp_path, slide_file, teachers=["chief", "titan", COARSE, "mean-texture"]
    )
    messages = [one["message"] for one in result["failures"]]
    assert len(messages) == 2
    assert "chief is not run here" in messages[0]
    assert "titan" in messages[1]
    for name in (COARSE, "mean-texture"):
        assert (slide.slide_embedding(name) / "meta.json").is_file()
    assert slide.load_grid()
    assert project.config.teachers == ("chief", "titan", COARSE, "mean-texture")


def test_an_import_is_kept_and_is_learned_from(tmp_path: Path, slide_file: Path) -> None:
    project, slide, _ = prepared(tmp_path, slide_file, teachers=["mean-texture"])
    source = tmp_path / "theirs.h5"
    source.write_bytes(b"numbers")
    vector: Any = np.linspace(-1, 1, 768)
    folder = import_slide_embedding(slide, "titan", vector[None], source)
    stored, meta = load_slide_embedding(folder)
    np.testing.assert_array_equal(stored, vector.astype(np.float32))
    digest = hashlib.sha256(b"numbers").hexdigest()
    assert meta["imported"] == {"file": "theirs.h5", "sha256": digest, "tool": None}
    before = files(folder)
    _, _, result = prepared(tmp_path, slide_file, teachers=["titan", "mean-texture"])
    assert result["failures"] == [], "titan needs no code, no consent and no grid of its own"
    assert files(folder) == before

    run("cluster", project=str(project.root), n_clusters=2)
    table = tmp_path / "labels.csv"
    table.write_text(f"slide_id,path,label\n{slide.slide_id},{slide_file},yes\nb,b.tiff,no\n")
    project.import_labels(table)
    cohort, _ = load_cohort(Project.open(project.root), "label")
    np.testing.assert_array_equal(cohort.slides[0].teachers["titan"], stored)


@pytest.mark.parametrize(
    "vector",
    [
        np.zeros(767, np.float32),
        np.zeros((2, 768), np.float32),
        np.zeros(768, np.int32),
        np.full(768, np.nan),
        np.full(768, 1e300),
        np.zeros(0),
    ],
)
def test_what_is_no_embedding_of_the_encoder_is_not_imported(
    tmp_path: Path, slide_file: Path, vector: Any
) -> None:
    slide = Project.create(tmp_path / "p").add_slide(slide_file)
    with pytest.raises(ProjectError, match=r"not the 768 finite numbers"):
        import_slide_embedding(slide, "titan", vector, slide_file)
    with pytest.raises(ProjectError, match="name the slide encoder"):
        import_slide_embedding(slide, "texture", vector, slide_file)
    assert not (slide.root / "slide_embeddings").exists()


def test_memory_is_asked_for_before_anything_is_embedded(
    tmp_path: Path, slide_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teachers, "_free_bytes", lambda _: 4 * 3 * 8 * 2560)
    _, slide, result = prepared(tmp_path, slide_file, teachers=[COARSE])
    (failure,) = result["failures"]
    assert "set max_patches to 4 or less" in failure["message"]
    assert "import its embedding" in failure["message"]
    assert (failure["teacher"], failure["max_patches"]) == (COARSE, 4)
    assert len(list((slide.root / "lattices").iterdir())) == 1
    _, slide, result = prepared(tmp_path, slide_file, teachers=[COARSE], max_patches=4)
    assert result["failures"] == []


def heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the coarse teacher and its patch encoder be networks, of 3 and 2 MB."""
    patches = dataclasses.replace(encoder_card("texture"), name="heavy", parameters_m=0.5)
    register_encoder(patches, loader="src_core.encoders.texture:load_texture")
    teacher = dataclasses.replace(
        encoder_card(COARSE), name="heavy-teacher", patch_encoder="heavy", download_mb=3
    )
    register_encoder(teacher, loader="src_core.encoders.slide_encoders:load_mean")


@pytest.mark.parametrize(
    ("left", "told", "most"),
    [
        (4 * 3 * 8 * 2560, "set max_patches to 4 or less, import its embedding", 4),
        (0, "too little for a single patch; close other programs, choose another device", 0),
        (-1_000_000, "too little for a single patch; close other programs", 0),
    ],
)
def test_weights_that_are_still_to_be_loaded_take_memory_too(
    tmp_path: Path,
    slide_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    left: int,
    told: str,
    most: int,
) -> None:
    heavy(monkeypatch)
    monkeypatch.setattr(teachers, "_free_bytes", lambda _: 5_000_000 + left)
    loaded: list[str] = []
    plain = registry.create_encoder

    def create(name: str, **options: Any) -> Any:
        loaded.append(name)
        return plain(name, **options)

    monkeypatch.setattr(teachers, "create_encoder", create)
    _, slide, result = prepared(tmp_path, slide_file, teachers=["heavy-teacher"])
    (failure,) = result["failures"]
    assert told in failure["message"]
    assert "of it for the weights of heavy-teacher and heavy) for the" in failure["message"]
    assert "max_patches to 0" not in failure["message"]
    assert (failure["teacher"], failure["max_patches"]) == ("heavy-teacher", most)
    assert loaded == []
    if most:
        done = prepared(tmp_path, slide_file, teachers=["heavy-teacher"], max_patches=most)[2]
        assert done["failures"] == []
        assert loaded == ["heavy-teacher", "heavy"]
        assert (slide.slide_embedding("heavy-teacher") / "meta.json").is_file()


def test_what_is_loaded_or_embedded_already_needs_no_memory_for_weights(
    tmp_path: Path, slide_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heavy(monkeypatch)
    project, slide, result = prepared(tmp_path, slide_file, teachers=["heavy-teacher"])
    assert result["failures"] == []
    slide.slide_embedding("heavy-teacher").joinpath("meta.json").unlink()
    grid = teachers.Teachers(project.config, "cpu")._grid(slide, encoder_card("heavy-teacher"))[0]
    enough = 3_000_000 + len(grid) * 3 * 8 * 2560
    for free, is_enough in ((enough, True), (enough - 1, False)):
        slide.slide_embedding("heavy-teacher").joinpath("meta.json").unlink(missing_ok=True)
        monkeypatch.setattr(teachers, "_free_bytes", lambda _, free=free: free)
        done = embed_slides(project, [slide], device="cpu", report=ignore, stop=never)
        assert (done.failures == []) == is_enough, "the patches are there, their encoder is not"


def test_what_torch_holds_and_does_not_use_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachers, "pick_device", lambda _: torch.device("cuda"))
    held = {"mem_get_info": (1000, 9000), "memory_reserved": 700, "memory_allocated": 200}
    for name, value in held.items():
        monkeypatch.setattr(torch.cuda, name, lambda _, value=value: value)
    assert teachers._free_bytes("cuda") == 1500


def test_a_mean_is_not_helped_by_fewer_patches(
    tmp_path: Path, slide_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teachers, "_free_bytes", lambda _: 4 * 3 * 8 * 2560)
    _, _, result = prepared(tmp_path, slide_file, teachers=["mean-texture"])
    (failure,) = result["failures"]
    assert "max_patches" not in failure["message"]
    assert "close other programs" in failure["message"]
    assert failure["max_patches"] == 0, "which the window does not offer"


@pytest.mark.parametrize("calls", [0, 2, 4])
def test_a_stop_is_heard_and_the_next_run_goes_on(
    tmp_path: Path, slide_file: Path, calls: int
) -> None:
    project, slide, _ = prepared(tmp_path, slide_file, teachers=["mean-texture"])
    project = project.reconfigured(project.config.replace(teachers=[COARSE]))
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > calls

    with pytest.raises(JobCancelled):
        embed_slides(project, [slide], device="cpu", report=ignore, stop=stop)
    assert not (slide.slide_embedding(COARSE) / "meta.json").exists()
    seen: list[Progress] = []
    done = embed_slides(project, [slide], device="cpu", report=seen.append, stop=never)
    assert done.failures == []
    assert seen[-1].stage == "Embedding the slide"
    assert seen[-1].detail == COARSE
    assert load_slide_embedding(slide.slide_embedding(COARSE))[0].shape == (91,)


def test_names_are_checked_before_any_work(tmp_path: Path, slide_file: Path) -> None:
    with pytest.raises(ConfigError, match="add that encoder"):
        prepared(tmp_path, slide_file, teachers=["mean-lite0"])
    with pytest.raises(ConfigError, match="is a patch encoder"):
        prepared(tmp_path, slide_file, teachers=["lite0"])
    with pytest.raises(UnknownEncoderError):
        prepared(tmp_path, slide_file, teachers=["titian"])
    assert not (tmp_path / "project").exists()


def test_consent_is_an_option_of_prepare(
    tmp_path: Path, slide_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "trusted.json"
    monkeypatch.setenv("FUSECPATH_TRUSTED_CODE", str(listed))
    prepared(tmp_path, slide_file, teachers=["mean-texture"], trust_remote_code=["titan"])
    assert json.loads(listed.read_text()) == {"titan": encoder_card("titan").revision}
    with pytest.raises(ConfigError, match="prism@COMMIT"):
        prepared(tmp_path, slide_file, trust_remote_code=["prism"])


def test_what_lacked_consent_is_made_after_it_and_again_for_another_commit(
    tmp_path: Path, slide_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "trusted.json"
    monkeypatch.setenv("FUSECPATH_TRUSTED_CODE", str(listed))
    monkeypatch.setattr(remote_code, "version", lambda _: "4.57.6")
    like_titan = dataclasses.replace(
        encoder_card(COARSE),
        name="titan",
        weights="hub:MahmoodLab/TITAN",
        repository="MahmoodLab/TITAN",
        revision="d" * 40,
    )
    loader = "src_core.encoders.remote_slides:load_titan"
    registry._entries["titan"] = registry._Entry(like_titan, loader)
    monkeypatch.setattr(remote_slides, "load_remote_model", lambda card: None)
    monkeypatch.setattr(
        remote_slides, "TitanSlideEncoder", lambda card, model, *, device: MeanSlideEncoder(card)
    )

    def made_at() -> str:
        meta = load_slide_embedding(slide.slide_embedding("titan"))[1]
        return str(meta["encoder"]["weights"])

    _, slide, result = prepared(tmp_path, slide_file, teachers=["titan"])
    assert "agree to it (trust_remote_code titan)" in result["failures"][0]["message"]
    assert not slide.slide_embedding("titan").exists()
    for commit in ("d" * 40, "e" * 40):
        agree(encoder_card("titan"), commit)
        assert prepared(tmp_path, slide_file, teachers=["titan"])[2]["failures"] == []
        assert made_at() == f"hub:MahmoodLab/TITAN@{commit}"
    listed.unlink()
    before = files(slide.slide_embedding("titan"))
    assert prepared(tmp_path, slide_file, teachers=["titan"])[2]["failures"] == []
    assert files(slide.slide_embedding("titan")) == before, "what is stored needs no code"


def test_an_encoder_that_is_only_imported_is_refused_until_it_was(
    tmp_path: Path, slide_file: Path
) -> None:
    with pytest.raises(ConfigError, match=r"hibou-b is not run here.*fusecpath import"):
        prepared(tmp_path, slide_file, encoders=["texture", "hibou-b"], teachers=[])
    assert not (tmp_path / "project").exists()
    project, slide, _ = prepared(tmp_path, slide_file, teachers=[])
    grid = slide.load_grid()
    store = EmbeddingStore(slide.embeddings(grid.lattice_id))
    recipe = {"encoder": "hibou-b", "imported": {"file": "a.h5"}}
    rows = np.ones((len(grid), 768), np.float32)
    writer = store.open_writer("hibou-b", recipe, 768)
    writer.append(grid.cells, rows)
    writer.commit()
    names = ["texture", "hibou-b"]
    assert prepared(tmp_path, slide_file, encoders=names, teachers=[])[2]["failures"] == []
    assert Project.open(project.root).config.encoders == tuple(names)
