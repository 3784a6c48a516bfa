"""Which device computes: CUDA, Apple's MPS or the CPU, asked for by one word."""

from __future__ import annotations

import ctypes
import os
import platform
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeAlias

from src_core.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from threadpoolctl import ThreadpoolController

__all__ = [
    "DeviceName",
    "autocast",
    "cpu_threads",
    "few_threads",
    "grad_scaler",
    "is_out_of_memory",
    "keep_freed_memory",
    "lone_threads",
    "pick_device",
    "spin_briefly",
]

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""Numbers of glibc's malloc.h."""

_START_SECONDS = 60.0
"""In which a thread has started, or never will."""

_KEPT_BYTES = 256 * 2**20

_SPINS = "10000"
"""Some 50 microseconds: as long as threads with cores of their own keep one another waiting."""

DeviceName: TypeAlias = Literal["auto", "cpu", "cuda", "mps"]


def pick_device(name: DeviceName = "auto") -> torch.device:
    """Return the device called `name`; ``"auto"`` takes the fastest that is there.

    Raises
    ------
    ConfigError
        If the named device is not on this machine.
    """
    import torch

    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, here in present.items() if here))
    if name not in present:
        raise ConfigError(f"Device {name!r} is unknown; choose one of auto, {', '.join(present)}.")
    if not present[name]:
        raise ConfigError(
            f"Device {name!r} is not available on this machine; "
            "choose auto or cpu, or install the build of torch that supports it."
        )
    return torch.device(name)


def autocast(device: torch.device) -> torch.autocast:
    """Return a context in which networks compute in half precision where that is known to pay.

    bfloat16 on CUDA, float16 on cards that are too old for it; float32 on the CPU and on MPS.
    """
    import torch

    half = _half_type(device)
    return torch.autocast(device.type, dtype=half, enabled=half is not None)


def grad_scaler(device: torch.device) -> torch.amp.GradScaler:
    """Return what keeps gradients within the range of float16; it does nothing elsewhere."""
    import torch

    return torch.amp.GradScaler(device.type, enabled=_half_type(device) == torch.float16)


def _half_type(device: torch.device) -> torch.dtype | None:
    import torch

    if device.type != "cuda":
        return None
    with torch.cuda.device(device):
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if has_bfloat16 else torch.float16


def cpu_threads() -> int:
    """Return how many threads this process may use: its CPU affinity where the system has one."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


@contextmanager
def few_threads(count: int) -> Iterator[None]:
    """Let torch and the BLAS of NumPy and SciPy use `count` threads for a while.

    Small products gain nothing from more, and each library's idle threads spin: where they take
    turns, or something else needs a core, that costs many times what it saves.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with _blas().limit(limits=count):
            yield
    finally:
        torch.set_num_threads(before)


@cache
def _blas() -> ThreadpoolController:
    """Return a handle on the BLAS of NumPy and of SciPy; looking for them takes up to 20 ms."""
    import scipy.linalg  # noqa: F401  # SciPy brings a BLAS of its own
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def lone_threads() -> ThreadPoolExecutor:
    """Return as many threads as torch has, on each of which its operations use no other.

    Between two of torch's own operations its threads are idle: whole pieces of work, one to each
    thread, then cost less than many operations that are each divided among all. A thread of
    another's whose first operation falls into the moment in which these start has one thread too.

    Raises
    ------
    RuntimeError
        If the system grants no thread.
    """
    import torch

    count, own = torch.get_num_threads(), min(torch.get_num_threads(), cpu_threads())
    started = threading.Barrier(own, timeout=_START_SECONDS)

    def alone(_place: int) -> None:
        torch.get_num_threads()  # or a thread's first operation would set what is set for all
        torch.set_num_threads(1)
        started.wait()  # no thread takes two of these

    threads = ThreadPoolExecutor(own, thread_name_prefix="lone")
    try:
        list(threads.map(alone, range(own)))
    finally:
        torch.set_num_threads(count)  # what is set last is also what threads of others begin with
    return threads


def spin_briefly() -> None:
    """Let threads of GNU's OpenMP that wait for one another soon sleep; before torch is loaded.

    They spin for milliseconds otherwise. Where something else needs a core, the thread that is
    waited for has none meanwhile, and each of the hundreds of operations of a training step waits
    again: on two shared cores a step took two to three times as long. Whoever has set how long
    threads spin is not overruled.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)


def keep_freed_memory() -> None:
    """Let this process keep up to 256 MB that it has freed, for what it allocates next.

    glibc gives the memory of large arrays back to the system at once. A network allocates the same
    ones for every batch, and the system clears each page anew: a third of the time on the CPU. Does
    nothing where the C library is another one.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    for parameter in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
        mallopt(parameter, _KEPT_BYTES)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that the machine's own memory, not a GPU's, is used up.

    torch raises a plain RuntimeError for it, known by the name of its allocator.
    """
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )
