"""The names that do not change."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from src_core.errors import ProjectError
from src_core.provenance import write_json

NAMES = (
    "src_core.slides:open_slide",
    "src_core.tissue:segment_tissue",
    "src_core.patches:build_grid",
    "src_core.encoders:list_encoders",
    "src_core.encoders:encoder_card",
    "src_core.encoders:create_encoder",
    "src_core.embeddings:embed_patches",
    "src_core.clustering:MultiViewSpectralClustering",
    "src_core.bags:select_bags",
    "src_core.models:Student",
    "src_core.training:fit",
    "src_core.training:cross_validate",
    "src_core.inference:predict_slide",
)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_where_it_is_looked_for(name: str) -> None:
    module, _, attribute = name.partition(":")
    assert getattr(import_module(module), attribute).__name__ == attribute


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ProjectError, match="cannot be written"):
        write_json(tmp_path / "file" / "project.json", {})
