"""A patch encoder from any torch module: what its card says, done in one place.

Every module that turns pixels (n, 3, input_px, input_px) into embeddings (n, dim) becomes an
encoder here; a new model needs a card and a loader.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from src_core.devices import keep_freed_memory
from src_core.encoders.base import check_patches
from src_core.encoders.batch_size import find_batch_size
from src_core.encoders.cards import EncoderCard
from src_core.errors import EncoderFailedError
from src_core.types import Float32, Rgb

__all__ = ["TorchPatchEncoder"]

_TRIALS = 3
_SHARE_OF_MEMORY = 0.7
"""What a chunk may take of a GPU: other encoders of the same pass live there too."""

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
        Patches computed at once; 16 on the CPU, where more is hardly faster, 32 on MPS. CUDA
        tries, at the first call, how many are fastest.

    Notes
    -----
    Patches go through the module in chunks of one fixed size, the last one padded: the kernels
    that a library picks depend on the size, and with them the last bits of an embedding. So a
    patch has the same bytes whatever batch it arrives in. When a GPU runs out of memory the chunk
    is halved, for good. Which chunk a GPU finds fastest may differ from run to run, and with it
    the last bits; so whoever keeps embeddings keeps `tuned_size` with them, for `go_on_with`.

    On CUDA a chunk is resized and sent (from pinned memory) while the one before is computed.

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
        if device.type == "cpu":
            keep_freed_memory()
        self.card = card
        self._device = device
        self._chunk = chunk or (16 if device.type == "cpu" else 32)
        self._is_tuned = chunk is not None or device.type != "cuda"
        self._crop_px = card.input_px
        self._resize_px = card.resize_px or card.input_px
        # channels_last: pixels arrive in that order, and convolutions on it are faster.
        self._module = module.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean = _per_channel(card.mean, device)  # (3, 1, 1)
        self._std = _per_channel(card.std, device)  # (3, 1, 1)

    @property
    def batch_size(self) -> int:
        """Patches computed at once: fewer in a call would waste a part of it."""
        return self._chunk

    @property
    def computed(self) -> str:
        """In which precision it computes and where, as ``"float16 on cuda"``."""
        half = self._device.type == "cuda" and self.card.precision in _DTYPES
        return f"{self.card.precision if half else 'float32'} on {self._device.type}"

    @property
    def tuned_size(self) -> int | None:
        """Patches computed at once; None as long as CUDA has not tried how many are fastest."""
        return self._chunk if self._is_tuned else None

    def go_on_with(self, batch_size: int) -> None:
        """Compute so many patches at once, without a trial."""
        self._chunk, self._is_tuned = batch_size, True

    def encode(self, patches: Rgb) -> Float32:
        """Return embeddings; see :class:`~src_core.encoders.base.PatchEncoder`."""
        check_patches(patches)
        if not self._is_tuned and len(patches):
            self._chunk = find_batch_size(self._speed_on(patches[:1]), first=self._chunk)
            self._is_tuned = True
            torch.cuda.empty_cache()  # of what was only tried
        embeddings = np.empty((len(patches), self.card.dim), np.float32)
        done = 0
        computing: tuple[slice, Tensor | None] = (slice(0), None)  # rows, and their embeddings
        while done < len(patches):
            block = patches[done : done + self._chunk]  # (b, side, side, 3)
            try:
                rows = self._compute(block)  # (b, dim)
            except RuntimeError as error:
                if self._chunk == 1 or "out of memory" not in str(error):
                    raise
                self._chunk //= 2
                torch.cuda.empty_cache()
                continue
            _fetch(computing, embeddings)
            computing = (slice(done, done + len(block)), rows)
            done += len(block)
        _fetch(computing, embeddings)
        return embeddings

    def _speed_on(self, patch: Rgb) -> Callable[[int], float]:
        """Return what measures how many of such patches a second chunks of some size compute."""

        def speed(size: int) -> float:
            self._chunk = size
            torch.cuda.reset_peak_memory_stats(self._device)
            block = np.repeat(patch, size, axis=0)
            self._compute(block)  # the first of a size chooses kernels
            torch.cuda.synchronize(self._device)
            began = time.perf_counter()
            for _ in range(_TRIALS):
                self._compute(block)
            torch.cuda.synchronize(self._device)
            seconds = time.perf_counter() - began
            total = torch.cuda.get_device_properties(self._device).total_memory
            fits = torch.cuda.max_memory_reserved(self._device) <= _SHARE_OF_MEMORY * total
            return size * _TRIALS / seconds if fits else 0.0

        return speed

    def _compute(self, block: Rgb) -> Tensor:
        """Return the embeddings of a chunk; on a GPU they may still be on their way."""
        padded = np.zeros((self._chunk, *block.shape[1:]), np.uint8)
        padded[: len(block)] = block
        with torch.inference_mode(), _exact(self._device), self._autocast():
            pixels = torch.from_numpy(padded).permute(0, 3, 1, 2)  # (chunk, 3, side, side)
            pixels = self._sent(self._fit(pixels))  # (chunk, 3, input_px, input_px)
            scaled = (pixels.to(torch.float32) / 255 - self._mean) / self._std
            embedded: Tensor = self._module(scaled)  # (chunk, dim)
        if embedded.shape != (self._chunk, self.card.dim):
            raise EncoderFailedError(
                f"{self.card.name} gave {tuple(embedded.shape[1:])} numbers a patch, not the "
                f"{self.card.dim} of its card; give the weights that the card is of."
            )
        return embedded[: len(block)]

    def _sent(self, pixels: Tensor) -> Tensor:
        if self._device.type != "cuda":
            return pixels.to(self._device)
        # The allocator of pinned memory knows which copies are under way and keeps their pages.
        dense = pixels.contiguous(memory_format=torch.channels_last)
        return dense.pin_memory().to(self._device, non_blocking=True)

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


def _fetch(computing: tuple[slice, Tensor | None], embeddings: Float32) -> None:
    rows, computed = computing
    if computed is not None:
        embeddings[rows] = computed.to("cpu", torch.float32).numpy()


def _per_channel(values: tuple[float, float, float], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device).reshape(3, 1, 1)
