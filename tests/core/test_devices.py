"""Devices by one word."""

from __future__ import annotations

import pytest
import torch

from src_core.devices import cpu_threads, pick_device
from src_core.errors import ConfigError


def test_auto_takes_what_is_there() -> None:
    kind = pick_device("auto").type
    assert kind == ("cuda" if torch.cuda.is_available() else kind)
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_here_is_named_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match="'cuda' is not available on this machine; choose auto"):
        pick_device("cuda")


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(ConfigError, match="'tpu' is unknown; choose one of auto, cuda, mps, cpu"):
        pick_device("tpu")  # type: ignore[arg-type]


def test_there_is_a_thread() -> None:
    assert cpu_threads() >= 1
