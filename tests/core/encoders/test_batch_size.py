from __future__ import annotations

import pytest

from src_core.encoders.batch_size import find_batch_size


class Device:
    """Computes faster with larger batches until it is busy, and has so much memory."""

    def __init__(self, *, busy_at: int = 10**6, memory: int = 10**6, bound: int = 10**6) -> None:
        self.busy_at, self.memory, self.bound = busy_at, memory, bound
        self.tried: list[int] = []

    def __call__(self, size: int) -> float:
        self.tried.append(size)
        if size > self.memory:
            raise RuntimeError("CUDA out of memory. Tried to allocate 1.00 GiB")
        return 0.0 if size > self.bound else 100.0 * min(size, self.busy_at)


@pytest.mark.parametrize(
    ("device", "best", "tried"),
    [
        (Device(), 512, 5),
        (Device(busy_at=128), 128, 4),
        (Device(busy_at=10), 32, 2),
        (Device(memory=100), 64, 3),
        (Device(bound=300), 256, 5),
        (Device(memory=8), 32, 1),
    ],
)
def test_a_batch_grows_while_that_is_faster_and_fits(device: Device, best: int, tried: int) -> None:
    assert find_batch_size(device, first=32) == best
    assert len(device.tried) == tried


def test_another_error_is_not_taken_for_a_full_memory() -> None:
    def broken(size: int) -> float:
        raise RuntimeError("no kernel image is available for execution on the device")

    with pytest.raises(RuntimeError, match="no kernel image"):
        find_batch_size(broken, first=32)
