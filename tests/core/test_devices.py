"""Devices by one word."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from threadpoolctl import threadpool_info

from src_core.devices import (
    autocast,
    cpu_threads,
    few_threads,
    grad_scaler,
    lone_threads,
    pick_device,
    spin_briefly,
)
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


def test_the_cpu_computes_in_float32_and_scales_no_gradient() -> None:
    with autocast(torch.device("cpu")):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == torch.float32
    loss = product.sum().requires_grad_()
    assert grad_scaler(torch.device("cpu")).scale(loss) is loss


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA")
def test_cuda_computes_in_half_precision() -> None:
    device = torch.device("cuda")
    with autocast(device):
        product = torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device)
    assert product.dtype in (torch.bfloat16, torch.float16)
    assert grad_scaler(device).is_enabled() == (product.dtype == torch.float16)


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)],
)
def test_threads_spin_briefly_unless_told_otherwise(
    given: dict[str, str], spins: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", dict(os.environ))
        spin_briefly()
        assert os.environ.get("GOMP_SPINCOUNT") == spins


def test_the_commands_say_so_before_torch_is_loaded() -> None:
    code = (
        "import os, sys; import src_core.cli, src_core.worker; assert 'torch' not in sys.modules;"
        "src_core.cli.main(['encoders']); print(os.environ['GOMP_SPINCOUNT'])"
    )
    clean = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=clean, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "10000"


def test_each_lone_thread_has_one_thread_and_all_others_keep_theirs() -> None:
    import torch

    def count(_place: int = 0) -> int:
        torch.ones(10).sum()
        return int(torch.get_num_threads())

    with few_threads(3):
        with lone_threads() as threads:
            assert list(threads.map(count, range(6))) == [1] * 6
        with ThreadPoolExecutor(1) as other:
            assert [count(), other.submit(count).result()] == [3, 3]


def test_both_blas_have_few_threads_for_a_while() -> None:
    def counts() -> list[int]:
        return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]

    before = counts()
    with few_threads(3):
        inside = counts()
        with few_threads(1):
            innermost = counts()
    # Accelerate, the BLAS of macOS, is none that can be asked.
    assert inside == [3] * len(before) or sys.platform == "darwin"
    assert innermost == [1] * len(before)
    assert counts() == before
