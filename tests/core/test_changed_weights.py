"""Other weights than the stored embeddings are by: noticed unloaded, embedded again, and told."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.embeddings.extract import load_slide_embedding
from src_core.embeddings.store import EmbeddingStore
from src_core.encoders import encoder_card, register_encoder, registry, weights
from src_core.encoders.cards import EncoderCard
from src_core.encoders.local_weights import forget_file, use_file
from src_core.encoders.weights import card_with_weights, known_recipe
from src_core.errors import WeightsUnavailableError
from src_core.progress import ignore, never
from src_core.project import Project, SlideFolder
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from src_core.types import Float32, Rgb
from src_core.verbs import run_verb

TOY = "toy"
"""Its weights are a file of some letters, and so are its embeddings."""
TEACHER = "toy-teacher"
"""A mean with weights of its own over patches of its own."""


class ToyEncoder:
    """Two numbers a patch: its mean, and the first letter of the weights."""

    batch_size = 4

    def __init__(self, card: EncoderCard, path: Path) -> None:
        self.card, self._letter = card, path.read_bytes()[0]

    def encode(self, patches: Rgb) -> Float32:
        means = patches.reshape(len(patches), -1).mean(axis=1)
        return np.stack([means, np.full(len(patches), self._letter)], axis=1).astype(np.float32)


class ToyTeacher(ToyEncoder):
    def encode(self, embeddings: Any, coords_xy: Any, *, patch_l0: float) -> Float32:  # type: ignore[override]
        return np.array([embeddings[:, 1].mean(), self._letter], np.float32)


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Register the toys; the file of their repository, when it is in the cache."""
    monkeypatch.setenv("FUSECPATH_WEIGHTS", str(tmp_path / "weights.json"))
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    texture = encoder_card("texture")
    toy = dataclasses.replace(
        texture, name=TOY, dim=2, weights="hub:some/toy", repository="some/toy"
    )
    mean = encoder_card("mean-texture")
    teacher = dataclasses.replace(
        mean, name=TEACHER, dim=2, weights="hub:some/toy", repository="some/toy",
        patch_encoder=TOY, own_lattice=True, patch_px=224, mpp=1.0,
    )  # fmt: skip
    cached = tmp_path / "cached.pth"

    def load(card: EncoderCard, device: Any, path: Path | None) -> Any:
        if path is None and not cached.is_file():
            raise WeightsUnavailableError("no network")
        found = path or cached
        card = card_with_weights(card, found, given=path is not None)
        return (ToyEncoder if card.kind == "patch" else ToyTeacher)(card, found)

    plain = registry._loader
    monkeypatch.setattr(
        registry, "_loader", lambda name: load if name in (TOY, TEACHER) else plain(name)
    )
    monkeypatch.setattr(registry, "fetch_weights", lambda card, **_: None)
    monkeypatch.setattr(weights, "cached_file", lambda *_: cached if cached.is_file() else None)
    for card in (toy, teacher):
        register_encoder(card, loader="not:used")
    return cached


@pytest.fixture(scope="module")
def slide_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "a.tiff"
    write_sample_slide(path, SyntheticSlide(size_px=(1792, 1792), seed=1))
    return path


def prepare(tmp_path: Path, *slides: Path, **options: Any) -> dict[str, Any]:
    asked = {"project": str(tmp_path / "project"), "slides": [str(one) for one in slides]}
    return run_verb("prepare", {**asked, "device": "cpu", **options}, report=ignore, stop=never)


def slide_of(tmp_path: Path) -> SlideFolder:
    return Project.open(tmp_path / "project").slides()[0]


def letters(tmp_path: Path, encoder: str = TOY) -> set[str]:
    slide = slide_of(tmp_path)
    grid = slide.load_grid()
    rows = EmbeddingStore(slide.embeddings(grid.lattice_id)).view(encoder, grid.cells).array()
    return {chr(int(one)) for one in rows[:, 1]}


def weights_of(path: Path, letter: str) -> Path:
    path.write_text(letter * 2000)
    return path


def test_another_listed_file_embeds_again_and_says_so(tmp_path: Path, slide_file: Path) -> None:
    use_file(TOY, weights_of(tmp_path / "A.pth", "A"))
    assert "notes" not in prepare(tmp_path, slide_file, encoders=[TOY])
    assert letters(tmp_path) == {"A"}
    use_file(TOY, weights_of(tmp_path / "B.pth", "B"))
    result = prepare(tmp_path)
    assert result["failures"] == []
    assert letters(tmp_path) == {"B"}
    was, now = (hashlib.sha256(letter * 2000).hexdigest()[:13] for letter in (b"A", b"B"))
    told = f"Embedded again by toy, for its weights changed from sha256:{was} to sha256:{now}."
    assert result["notes"] == {"a": told}
    assert "notes" not in prepare(tmp_path), "once"


def test_a_new_file_in_the_cache_is_noticed_and_none_leaves_all_as_it_is(
    tmp_path: Path, slide_file: Path, hub: Path
) -> None:
    weights_of(hub, "A")
    prepare(tmp_path, slide_file, encoders=[TOY])
    weights_of(hub, "B")
    assert "notes" in prepare(tmp_path)
    assert letters(tmp_path) == {"B"}
    hub.unlink()
    assert "weights" not in known_recipe(encoder_card(TOY))
    result = prepare(tmp_path)
    assert (result["failures"], "notes" in result) == ([], False)
    assert letters(tmp_path) == {"B"}, "offline, what is stored stays in use"


def test_what_is_learnt_when_a_new_slide_loads_the_encoder_holds_for_the_old_ones(
    tmp_path: Path, slide_file: Path, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights_of(hub, "A")
    prepare(tmp_path, slide_file, encoders=[TOY])
    weights_of(hub, "B")
    monkeypatch.setattr(weights, "cached_file", lambda *_: None)  # to be downloaded by who loads it
    other = tmp_path / "b.tiff"
    write_sample_slide(other, SyntheticSlide(size_px=(1792, 1792), seed=2))
    result = prepare(tmp_path, slide_file, other)
    assert result["failures"] == []
    assert letters(tmp_path) == {"B"}
    assert list(result["notes"]) == ["a"]


def test_new_weights_that_are_none_leave_the_old_embeddings(
    tmp_path: Path, slide_file: Path
) -> None:
    use_file(TOY, weights_of(tmp_path / "A.pth", "A"))
    prepare(tmp_path, slide_file, encoders=[TOY])
    (tmp_path / "A.pth").unlink()
    use_file(TOY, tmp_path / "none.pth")
    assert prepare(tmp_path)["failures"] == []
    assert letters(tmp_path) == {"A"}


def test_a_teacher_and_its_own_patches_follow_their_weights(
    tmp_path: Path, slide_file: Path
) -> None:
    def vector() -> str:
        found = load_slide_embedding(slide_of(tmp_path).slide_embedding(TEACHER))[0]
        return "".join(chr(round(float(one))) for one in found)

    for name in (TOY, TEACHER):
        use_file(name, weights_of(tmp_path / "A.pth", "A"))
    prepare(tmp_path, slide_file, encoders=["texture"], teachers=[TEACHER])
    assert vector() == "AA"
    use_file(TEACHER, weights_of(tmp_path / "B.pth", "B"))
    assert prepare(tmp_path)["notes"]["a"].startswith("Embedded again by toy-teacher, for its we")
    assert vector() == "AB"
    use_file(TOY, tmp_path / "B.pth")
    assert prepare(tmp_path)["notes"]["a"].startswith("Embedded again by toy, for its weights")
    assert vector() == "BB"
    assert "notes" not in prepare(tmp_path)


def test_the_stand_in_follows_its_list_both_ways(tmp_path: Path, slide_file: Path) -> None:
    """The package's weights need no hash to be known: the card has it."""
    import torch

    card = encoder_card("lite0")
    state = torch.load(weights.package_file(card), weights_only=True)
    state = {name: one * 0.9 if name == "_conv_stem.weight" else one for name, one in state.items()}
    torch.save(state, tmp_path / "mine.pth")
    prepare(tmp_path, slide_file, encoders=["lite0"])
    assert known_recipe(card) == card.recipe()
    use_file("lite0", tmp_path / "mine.pth")
    assert "its weights changed" in prepare(tmp_path)["notes"]["a"]
    slide = slide_of(tmp_path)
    store = EmbeddingStore(slide.embeddings(slide.load_grid().lattice_id))
    assert store.recipe("lite0")["weights"] != card.weights
    assert forget_file("lite0")
    result = prepare(tmp_path)
    assert (result["failures"], "its weights changed" in result["notes"]["a"]) == ([], True)
    assert store.recipe("lite0") == card.recipe()
