"""Encoders are known by name before anything heavy is loaded."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from src_core.encoders import (
    create_encoder,
    encoder_card,
    encoder_problem,
    list_encoders,
    register_encoder,
    registry,
)
from src_core.encoders.slide_cards import SLIDE_CARDS
from src_core.encoders.slide_encoders import MeanSlideEncoder
from src_core.errors import UnknownEncoderError, WeightsUnavailableError


def test_names_and_kinds() -> None:
    patch = list_encoders("patch")
    assert patch[:4] == ("lite0", "lite1", "lite2", "texture")
    assert {"conch_v15", "virchow2", "gigapath", "musk"} < set(patch)
    published = tuple(card.name for card in SLIDE_CARDS)
    assert list_encoders("slide") == published + tuple(f"mean-{name}" for name in patch)
    assert {"titan", "prism", "gigapath-slide"} < set(published)
    assert {card.patch_encoder for card in SLIDE_CARDS} <= set(patch)
    assert set(list_encoders()) == {*list_encoders("patch"), *list_encoders("slide")}


def test_listing_and_cards_load_no_network_library(project_root: Path) -> None:
    code = (
        "import sys; from src_core.encoders import *; [encoder_card(n) for n in list_encoders()];"
        "[encoder_problem(n) for n in list_encoders()];"
        "print([m for m in ('torch', 'timm', 'skimage', 'scipy', 'qtpy') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=project_root, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["lite9", "", "mean-lite9", "mean-mean-lite0", "timm"])
def test_an_unknown_name_lists_the_known(name: str) -> None:
    with pytest.raises(UnknownEncoderError, match=r"lite0, lite1, lite2, texture") as caught:
        encoder_card(name)
    assert isinstance(caught.value, KeyError)


@pytest.mark.parametrize("name", ["timm:resnet1", "timm:", "timm:../x", "timm:resnet18.nope"])
def test_an_unknown_timm_model_is_told(name: str) -> None:
    with pytest.raises(UnknownEncoderError, match="has no model"):
        encoder_card(name)


def test_a_name_is_registered_once() -> None:
    for name in ("lite0", "mean-new", "timm:new"):
        card = dataclasses.replace(encoder_card("lite0"), name=name)
        with pytest.raises(ValueError, match="registered already"):
            register_encoder(card, loader="nowhere:load")


def test_a_new_encoder_needs_a_card_and_a_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    card = dataclasses.replace(encoder_card("texture"), name="own")
    register_encoder(card, loader="src_core.encoders.texture:load_texture")
    assert "own" in list_encoders("patch")
    assert "mean-own" in list_encoders("slide")
    assert create_encoder("own").card is card


def test_means_are_made_of_any_patch_encoder() -> None:
    encoder = create_encoder("mean-timm:test_vit@random")
    assert isinstance(encoder, MeanSlideEncoder)
    assert encoder.card.patch_encoder == "timm:test_vit@random"


@pytest.mark.parametrize("name", ["texture", "mean-lite0", "timm:test_vit@random"])
def test_weights_for_an_encoder_without_any_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no weights"):
        create_encoder(name, weights=tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["lite0", "timm:test_vit"])
def test_a_wrong_path_is_an_error_and_never_a_download(name: str, tmp_path: Path) -> None:
    missing = tmp_path / "weights.safetensors"
    with pytest.raises(WeightsUnavailableError, match=r"weights\.safetensors.*is not there"):
        create_encoder(name, weights=missing)


def test_problem_is_told_without_the_network() -> None:
    assert encoder_problem("texture") is None
    assert "first use" in (encoder_problem("timm:test_vit2") or "")


def test_a_mean_of_means_without_end_is_an_unknown_name() -> None:
    with pytest.raises(UnknownEncoderError):
        encoder_card("mean-" * 5000 + "lite0")
