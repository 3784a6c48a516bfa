"""An encoder that cannot be loaded, breaks down or gives nonsense costs no more than its own."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from src_core.embeddings.extract import load_slide_embedding
from src_core.embeddings.store import EmbeddingStore
from src_core.encoders import encoder_card, register_encoder, registry
from src_core.encoders.breakdown import as_failure_of
from src_core.encoders.local_weights import use_file
from src_core.encoders.slide_encoders import MeanSlideEncoder
from src_core.encoders.weights import package_file
from src_core.errors import EncoderFailedError
from src_core.progress import ignore, never
from src_core.project import Project
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from src_core.verbs import run_verb

TEACHER = "toy-teacher"


@pytest.fixture(scope="module")
def slide_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("slides")
    paths = [folder / f"s{number}.tiff" for number in range(2)]
    for number, path in enumerate(paths):
        write_sample_slide(path, SyntheticSlide(size_px=(1024, 1024), seed=number))
    return paths


@pytest.fixture(autouse=True)
def lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights and encoders that are known for one test."""
    monkeypatch.setenv("FUSECPATH_WEIGHTS", str(tmp_path / "weights.json"))
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))


def prepare(root: Path, slides: list[Path], **options: Any) -> dict[str, Any]:
    given = {"project": str(root), "slides": [str(slide) for slide in slides], "device": "cpu"}
    return run_verb("prepare", {**given, **options}, report=ignore, stop=never)


def is_embedded(root: Path, encoder: str) -> list[bool]:
    found = []
    for slide in Project.open(root).slides():
        grid = slide.load_grid()
        store = EmbeddingStore(slide.embeddings(grid.lattice_id))
        found.append(not store.missing(encoder, grid.cells).any())
    return found


def test_weights_with_nan_cost_their_own_encoder_on_every_slide(
    slide_files: list[Path], tmp_path: Path
) -> None:
    state = torch.load(package_file(encoder_card("lite0")), weights_only=True)
    state["_conv_head.weight"][0, 0] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    use_file("lite0", tmp_path / "nan.pth")
    result = prepare(tmp_path / "p", slide_files, encoders=["lite0", "texture"])
    told = [(one["slide_id"], one["message"]) for one in result["failures"]]
    assert [name for name, _ in told] == ["s0", "s1"]
    for name, message in told:
        assert message.startswith(f"{name}.tiff, "), "where it was"
        assert "lite0 gave NaN or infinity" in message
    assert is_embedded(tmp_path / "p", "texture") == [True, True]
    assert is_embedded(tmp_path / "p", "lite0") == [False, False]


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), MemoryError()]
)
def test_an_encoder_that_does_not_fit_the_device_leaves_the_others(
    slide_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    tried: list[str] = []

    def to(self: nn.Module, *_: Any, **__: Any) -> nn.Module:
        tried.append(type(self).__name__)
        raise error

    monkeypatch.setattr(nn.Module, "to", to)
    result = prepare(tmp_path / "p", slide_files, encoders=["lite0", "texture"])
    messages = [one["message"] for one in result["failures"]]
    assert messages == [messages[0]] * 2
    assert f"lite0 cannot be loaded ({type(error).__name__}: " in messages[0]
    assert len(tried) == 1, "it is not loaded again for each slide"
    assert is_embedded(tmp_path / "p", "texture") == [True, True]
    with pytest.raises(EncoderFailedError, match="lite0 cannot be loaded"):
        prepare(tmp_path / "q", slide_files, encoders=["lite0"])


class ToyTeacher(MeanSlideEncoder):
    """Raises, or gives, what a test wants on the slide that has so many patches."""

    wanted: Any = None
    n_patches = 0

    def encode(self, embeddings: Any, coords_xy: Any, *, patch_l0: float) -> Any:
        if len(embeddings) == self.n_patches and isinstance(self.wanted, Exception):
            raise self.wanted
        mean = super().encode(embeddings, coords_xy, patch_l0=patch_l0)
        return self.wanted if len(embeddings) == self.n_patches else mean


@pytest.fixture
def teach(slide_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Prepare both slides; on the first the toy does what is wanted."""

    def run(wanted: Any, **options: Any) -> dict[str, Any]:
        prepare(tmp_path / "p", slide_files, encoders=["texture"], embed=False)
        toy = ToyTeacher(dataclasses.replace(encoder_card("mean-texture"), name=TEACHER))
        first, second = (len(one.load_grid()) for one in Project.open(tmp_path / "p").slides())
        assert first != second
        toy.wanted, toy.n_patches = wanted, first
        register_encoder(toy.card, loader="not:used")
        plain = registry._loader
        monkeypatch.setattr(
            registry,
            "_loader",
            lambda name: (lambda *_: toy) if name == TEACHER else plain(name),
        )
        teachers = [TEACHER, "mean-texture"]
        return prepare(tmp_path / "p", [], teachers=teachers, **options)

    return run


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory.\nT"), "broke down (OutOfMemoryError: CUDA"),
        (RuntimeError("DefaultCPUAllocator: can't allocate"), "broke down (RuntimeError: Default"),
        (MemoryError(), "broke down (MemoryError: no reason given)"),
        (np.full(91, np.nan, np.float32), "gave NaN or infinity"),
        (np.zeros(90, np.float32), "gave numbers of shape (90,)"),
    ],
)
def test_a_teacher_that_fails_on_a_slide_leaves_the_others_and_the_next_slide(
    teach: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, wanted: Any, told: str
) -> None:
    (failure,) = teach(wanted)["failures"]
    assert failure["slide_id"] == "s0"
    assert failure["message"].startswith("Slide 's0', its ")
    assert f"{TEACHER} {told}" in failure["message"]
    assert ("in encode" in caplog.text) == isinstance(wanted, Exception), "the traceback is kept"
    project = Project.open(tmp_path / "p")
    for name, missing in (("mean-texture", set()), (TEACHER, {"s0"})):
        for slide in project.slides():
            folder = slide.slide_embedding(name)
            assert (folder / "meta.json").is_file() == (slide.slide_id not in missing)
    load_slide_embedding(project.slide("s1").slide_embedding(TEACHER))


def test_a_bug_in_a_teacher_of_ours_is_no_failure_to_be_collected(teach: Any) -> None:
    with pytest.raises(TypeError, match="a bug"):
        teach(TypeError("a bug"))


def test_what_an_encoder_had_in_memory_is_free_once_its_failure_is_told() -> None:
    class Large:
        pass

    seen: list[weakref.ref[Large]] = []

    def compute() -> None:
        large = Large()
        seen.append(weakref.ref(large))
        raise RuntimeError("out of memory")

    with pytest.raises(EncoderFailedError) as caught, as_failure_of("a"):
        compute()
    gc.collect()
    assert caught.value.__cause__ is not None, "the failure is still held"
    assert seen[0]() is None
