"""From pixels to the network's input and back to rows."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from src_core.encoders import encoder_card
from src_core.encoders.torch_encoder import TorchPatchEncoder
from src_core.errors import EncoderFailedError
from src_core.types import Rgb

CPU = torch.device("cpu")
CARD = dataclasses.replace(encoder_card("lite0"), name="probe", dim=3, input_px=64)


class Channels(nn.Module):
    """The mean of each channel; remembers what it was given."""

    def __init__(self, *, limit: int = 1000) -> None:
        super().__init__()
        self.limit = limit
        self.seen: list[Tensor] = []

    def forward(self, pixels: Tensor) -> Tensor:
        if len(pixels) > self.limit:
            raise RuntimeError("CUDA out of memory. Tried to allocate 1.00 GiB")
        self.seen.append(pixels)
        return pixels.mean(dim=(2, 3))  # (n, 3)


def test_pixels_are_scaled_by_the_card() -> None:
    card = dataclasses.replace(CARD, mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25))
    patch = np.full((1, 64, 64, 3), 255, np.uint8)
    (row,) = TorchPatchEncoder(card, Channels(), device=CPU).encode(patch)
    np.testing.assert_allclose(row, [1, 1, 0], atol=1e-6)


@pytest.mark.parametrize("how", ["bilinear", "bicubic"])
def test_resizing_is_pillows(how: Literal["bilinear", "bicubic"], tissue: Rgb) -> None:
    module = Channels()
    card = dataclasses.replace(CARD, interpolation=how, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    TorchPatchEncoder(card, module, device=CPU, chunk=1).encode(tissue[:1])
    ours = module.seen[0][0].permute(1, 2, 0).numpy() * 255  # (64, 64, 3)
    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    theirs = np.asarray(Image.fromarray(tissue[0]).resize((64, 64), filters[how]), np.float32)
    assert np.abs(ours - theirs).max() <= 1.01


def test_the_crop_is_central_after_resizing(tissue: Rgb) -> None:
    whole, cropped = Channels(), Channels()
    wide = dataclasses.replace(CARD, input_px=80)
    cut = dataclasses.replace(CARD, input_px=64, resize_px=80)
    TorchPatchEncoder(wide, whole, device=CPU, chunk=1).encode(tissue[:1])
    TorchPatchEncoder(cut, cropped, device=CPU, chunk=1).encode(tissue[:1])
    assert torch.equal(whole.seen[0][..., 8:72, 8:72], cropped.seen[0])


def test_every_chunk_has_one_size_and_rows_keep_their_order() -> None:
    module = Channels()
    patches = np.arange(11, dtype=np.uint8)[:, None, None, None] * np.ones((1, 64, 64, 3), np.uint8)
    rows = TorchPatchEncoder(CARD, module, device=CPU, chunk=4).encode(patches)
    assert [len(pixels) for pixels in module.seen] == [4, 4, 4]
    np.testing.assert_allclose(rows[:, 0], (np.arange(11) / 255 - 0.5) / 0.5, atol=1e-6)


def test_out_of_memory_halves_the_chunk_and_loses_nothing(tissue: Rgb) -> None:
    small = Channels(limit=2)
    rows = TorchPatchEncoder(CARD, small, device=CPU, chunk=16).encode(tissue)
    assert {len(pixels) for pixels in small.seen} == {2}
    assert np.array_equal(rows, TorchPatchEncoder(CARD, Channels(), device=CPU).encode(tissue))
    with pytest.raises(RuntimeError, match="out of memory"):
        TorchPatchEncoder(CARD, Channels(limit=0), device=CPU).encode(tissue)


def test_a_network_of_another_width_than_its_card_is_told(tissue: Rgb) -> None:
    card = dataclasses.replace(CARD, dim=4)
    with pytest.raises(EncoderFailedError, match="not the 4 of its card"):
        TorchPatchEncoder(card, Channels(), device=CPU).encode(tissue)


def test_the_cpu_computes_in_float32_whatever_the_card_says(tissue: Rgb) -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    half = dataclasses.replace(CARD, precision="float16")
    rows = TorchPatchEncoder(half, module, device=CPU).encode(tissue)
    assert np.array_equal(rows, TorchPatchEncoder(CARD, module, device=CPU).encode(tissue))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_agrees_with_the_cpu(tissue: Rgb) -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    on_cpu = TorchPatchEncoder(CARD, module, device=CPU).encode(tissue)
    encoder = TorchPatchEncoder(CARD, module, device=torch.device("cuda"))
    np.testing.assert_allclose(encoder.encode(tissue), on_cpu, atol=1e-5)
    assert np.array_equal(encoder.encode(tissue), encoder.encode(tissue))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_finds_its_chunk_and_fetches_every_row_in_its_place() -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    encoder = TorchPatchEncoder(CARD, module, device=torch.device("cuda"))
    patches = np.random.default_rng(0).integers(0, 256, (1500, 64, 64, 3), np.uint8)
    rows = encoder.encode(patches)
    assert encoder._chunk >= 32
    fixed = TorchPatchEncoder(CARD, module, device=torch.device("cuda"), chunk=encoder._chunk)
    assert np.array_equal(rows, fixed.encode(patches))
    np.testing.assert_allclose(
        rows, TorchPatchEncoder(CARD, module, device=CPU).encode(patches), atol=1e-5
    )
