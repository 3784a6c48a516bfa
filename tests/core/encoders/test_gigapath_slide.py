"""GigaPath's slide encoder from a file of its published names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from src_core.encoders import encoder_card
from src_core.encoders.gigapath_slide import filled
from src_core.encoders.longnet import LongNetSlide
from src_core.errors import WeightsUnavailableError

CARD = encoder_card("gigapath-slide")


def small() -> LongNetSlide:
    return LongNetSlide(6, 16, 4, 2, segments=[8, 16], ratios=[1, 2])


@pytest.mark.parametrize("nested", [True, False])
def test_a_published_file_fills_the_network(tmp_path: Path, nested: bool) -> None:
    published = small().state_dict()
    extra = {"mask_token": torch.zeros(1, 1, 16), "decoder_embed.weight": torch.zeros(3, 16)}
    state = {**{name: tensor.half() for name, tensor in published.items()}, **extra}
    torch.save({"model": state, "epoch": 3} if nested else state, tmp_path / "slide_encoder.pth")
    with torch.device("meta"):
        empty = small()
    model = filled(CARD, empty, tmp_path / "slide_encoder.pth")
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, published[name], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("change", ["missing", "unexpected", "whole numbers", "other size"])
def test_the_file_of_another_network_is_refused(tmp_path: Path, change: str) -> None:
    state = small().state_dict()
    if change == "missing":
        del state["encoder.layers.1.ffn.fc2.bias"]
    elif change == "unexpected":
        state["head.weight"] = torch.zeros(2)
    elif change == "whole numbers":
        state["norm.bias"] = torch.zeros(16, dtype=torch.int64)
    else:
        state["norm.bias"] = torch.zeros(2)
    torch.save(state, tmp_path / "slide_encoder.pth")
    with pytest.raises(WeightsUnavailableError, match=r"slide_encoder\.pth of https"):
        filled(CARD, small(), tmp_path / "slide_encoder.pth")
