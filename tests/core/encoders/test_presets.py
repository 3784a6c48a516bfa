"""Every preset names encoders that are there and go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from src_core.encoders import encoder_card
from src_core.encoders.presets import PRESETS, PresetName
from src_core.errors import ConfigError
from src_core.progress import ignore, never
from src_core.project import Project
from src_core.verbs.prepare import PREPARE, PrepareOptions


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_names_encoders_of_the_right_kind(name: PresetName) -> None:
    preset = PRESETS[name]
    assert preset.encoders
    assert all(encoder_card(encoder).kind == "patch" for encoder in preset.encoders)
    for teacher in preset.teachers:
        card = encoder_card(teacher)
        assert card.kind == "slide"
        assert card.own_lattice or card.patch_encoder in preset.encoders


def test_the_papers_views_have_its_width() -> None:
    dims = {name: encoder_card(name).dim for name in PRESETS["paper"].encoders}
    assert dims == {"conch_v15": 768, "virchow2": 2560, "gigapath": 1536}
    assert sum(dims.values()) == 4864


def test_what_is_open_is_given_to_everybody_and_knows_tissue() -> None:
    cards = [encoder_card(name) for name in PRESETS["open"].encoders]
    assert not any(card.gated for card in cards)
    assert all(card.mpp is not None and card.repository is not None for card in cards)
    assert all(encoder_card(name).repository is None for name in PRESETS["offline"].encoders)


def test_prepare_takes_a_preset_and_what_is_named_goes_before(tmp_path: Path) -> None:
    def prepared(**options: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
        given = PrepareOptions(project=str(tmp_path), embed=False, **options)  # type: ignore[arg-type]
        PREPARE.run(given, ignore, never)
        config = Project.open(tmp_path).config
        return config.encoders, config.teachers

    assert prepared(preset="paper") == (PRESETS["paper"].encoders, PRESETS["paper"].teachers)
    assert prepared(encoders=("texture",), teachers=("mean-texture",), preset="offline") == (
        ("texture",),
        ("mean-texture",),
    )
    with pytest.raises(ConfigError, match="paper, open, offline"):
        prepared(preset="all")
