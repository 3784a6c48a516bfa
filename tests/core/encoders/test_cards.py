"""Cards of all encoders are checked without any weights."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from src_core.encoders import encoder_card, list_encoders
from src_core.encoders.cards import EncoderCard

LITE0 = encoder_card("lite0")
"""Whose licences leave nothing unclear."""


@pytest.mark.parametrize("name", list_encoders())
def test_card_tells_what_a_user_must_know(name: str) -> None:
    card = encoder_card(name)
    assert card.name == name
    assert card.licence.strip()
    assert card.source_url.startswith("https://")
    assert card.dim > 0
    assert card.commercial is not None or "unclear" in card.description or card.kind == "slide"
    assert card.honest_name not in {name, ""}
    assert "foundation" not in card.honest_name.lower()


@pytest.mark.parametrize("name", list_encoders())
def test_card_and_recipe_survive_json(name: str) -> None:
    card = encoder_card(name)
    assert EncoderCard.from_dict(json.loads(json.dumps(card.to_dict()))) == card
    assert json.loads(json.dumps(card.recipe())) == card.recipe()


def test_recipe_is_what_decides_the_bytes_and_nothing_else() -> None:
    recipe = LITE0.recipe()
    for change in ({"weights": "sha256:0"}, {"input_px": 192}, {"std": (1.0, 1.0, 1.0)}):
        assert dataclasses.replace(LITE0, **change).recipe() != recipe
    for words in ({"description": "other"}, {"licence": "MIT"}, {"commercial": None}):
        assert dataclasses.replace(LITE0, **words).recipe() == recipe


def test_recipe_of_a_mean_follows_its_patch_encoder() -> None:
    recipes = {encoder_card(f"mean-lite{i}").recipe()["weights"] for i in range(3)}
    assert len(recipes) == 3


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"dim": 0}, "dim"),
        ({"licence": " "}, "licence"),
        ({"source_url": "huggingface.co/x"}, "source_url"),
        ({"name": "my encoder"}, "blank"),
        ({"mpp": 40.0}, "mpp"),
        ({"std": (0.5, 0.0, 0.5)}, "std"),
        ({"mean": None}, "go together"),
        ({"mean": (0.5, 0.5)}, "3 channels"),
        ({"precision": "int8"}, "precision"),
        ({"kind": "slide"}, "patch encoder"),
        ({"input_px": None}, "input_px"),
        ({"resize_px": 200}, "crop"),
        ({"varies": True}, "only a slide encoder"),
    ],
)
def test_a_card_that_cannot_be_true_is_refused(change: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        dataclasses.replace(LITE0, **change)
