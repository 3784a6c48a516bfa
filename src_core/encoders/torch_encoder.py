"""A patch encoder from any torch module: what its card says, done in one place.

Every module that turns pixels (n, 3, input_px, input_px) into embeddings (n, dim) becomes an
encoder here; a new model needs a card and a loader.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from src_core.encoders.base import check_patches
from src_core.encoders.cards import EncoderCard
from src_core.types import Float32, Rgb

__all__ = ["TorchPatchEncoder"]

_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class TorchPatchEncoder:
    """Resize, normalise, compute, gather.

    Parameters
    ----------
    card : EncoderCard
        Says how; its `mean` and `std` are set.
    module : torch.nn.Module
        Maps normalised pixels (n, 3, input_px, input_px) to (n, card.dim).
    device : torch.device
        Where it computes.
    chunk : int, optional
        Patches computed at once; 16 on the CPU, where more is hardly faster, else 32.

    Notes
    -----
    Patches go through the module in chunks of one fixed size, the last one padded: the kernels
    that a library picks depend on the size, and with them the last bits of an embedding. So a
    patch has the same bytes whatever batch it arrives in. When a GPU runs out of memory the chunk
    is halved, for good.

    Resizing is done on the CPU in uint8 with antialiasing, as Pillow does it and as the networks
    were trained, whatever the device. CUDA computes in the card's precision and without TF32, the
    CPU in float32, and so does MPS, where autocast is not the same in all releases of torch.
    """

    def __init__(
        self,
        card: EncoderCard,
        module: nn.Module,
        *,
        device: torch.device,
        chunk: int | None = None,
    ) -> None:
        if card.input_px is None or card.mean is None or card.std is None:
            raise ValueError(f"the card of {card.name} lacks input_px, mean or std")
        self.card = card
        self._device = device
        self._chunk = chunk or (16 if device.type == "cpu" else 32)
        self._crop_px = card.input_px
        self._resize_px = card.resize_px or card.input_px
        # channels_last: pixels arrive in that order, and convolutions on it are faster.
        self._module = module.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean = _per_channel(card.mean, device)  # (3, 1, 1)
        self._std = _per_channel(card.std, device)  # (3, 1, 1)

    def encode(self, patches: Rgb) -> Float32:
        """Return embeddings; see :class:`~src_core.encoders.base.PatchEncoder`."""
        check_patches(patches)
        embeddings = np.empty((len(patches), self.card.dim), np.float32)
        done = 0
        while done < len(patches):
            block = patches[done : done + self._chunk]  # (b, side, side, 3)
            try:
                rows = self._encode_chunk(block)  # (b, dim)
            except RuntimeError as error:
                if self._chunk == 1 or "out of memory" not in str(error):
                    raise
                self._chunk //= 2
                torch.cuda.empty_cache()
                continue
            embeddings[done : done + len(block)] = rows
            done += len(block)
        return embeddings

    def _encode_chunk(self, block: Rgb) -> Float32:
        padded = np.zeros((self._chunk, *block.shape[1:]), np.uint8)
        padded[: len(block)] = block
        with torch.inference_mode(), _exact(self._device), self._autocast():
            pixels = torch.from_numpy(padded).permute(0, 3, 1, 2)  # (chunk, 3, side, side)
            pixels = self._fit(pixels).to(self._device)  # (chunk, 3, input_px, input_px)
            scaled = (pixels.to(torch.float32) / 255 - self._mean) / self._std
            embedded: Tensor = self._module(scaled)  # (chunk, dim)
        if embedded.shape != (self._chunk, self.card.dim):
            raise ValueError(
                f"{self.card.name} gave {tuple(embedded.shape[1:])} numbers a patch, "
                f"not the {self.card.dim} of its card"
            )
        return embedded[: len(block)].to("cpu", torch.float32).numpy()

    def _fit(self, pixels: Tensor) -> Tensor:
        side = self._resize_px
        if pixels.shape[-1] != side:
            pixels = interpolate(
                pixels, size=(side, side), mode=self.card.interpolation, antialias=True
            )  # (chunk, 3, resize_px, resize_px)
        start = (side - self._crop_px) // 2
        stop = start + self._crop_px
        return pixels[..., start:stop, start:stop]  # (chunk, 3, input_px, input_px)

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        dtype = _DTYPES.get(self.card.precision)
        if dtype is None or self._device.type != "cuda":
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, dtype=dtype)


@contextlib.contextmanager
def _exact(device: torch.device) -> Iterator[None]:
    """Keep cuDNN from TF32 and from kernels that differ from run to run, for this block only."""
    if device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield


def _per_channel(values: tuple[float, float, float], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device).reshape(3, 1, 1)
