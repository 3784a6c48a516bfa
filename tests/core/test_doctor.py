"""The doctor finds what is wrong, says the remedy, and goes on after a check that breaks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from huggingface_hub import constants

from src_core import doctor
from src_core.cli import main
from src_core.doctor import Check, examine
from src_core.encoders.local_weights import use_file
from src_core.errors import JobCancelled
from src_core.progress import Progress, ignore, never

SECRET = "hf_" + "Secret" * 5


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, a list of weights of its own, a token never to be shown."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("FUSECPATH_WEIGHTS", str(tmp_path / "weights.json"))


def test_a_sound_installation_passes_and_says_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["doctor", "--project", str(tmp_path), "--json"])
    told = capsys.readouterr().out
    result = json.loads(told)
    checks = {one["name"]: one for one in result["checks"]}
    assert status == 0, result["failures"]
    assert checks["slides"]["detail"].startswith("OpenSlide 4")
    assert "1280 numbers" in checks["cpu"]["detail"]
    assert checks["hub"]["status"] == "WARN"
    assert "a token is stored" in checks["hub"]["detail"]
    assert str(tmp_path) in checks["disk of project"]["detail"]
    assert all(one["remedy"] for one in checks.values() if one["status"] != "OK")
    assert "Secret" not in told


def test_a_failure_is_told_with_its_remedy_and_the_exit_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_file("lite0", tmp_path / "gone.pth")
    monkeypatch.setattr(doctor, "_slides", lambda: 1 / 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5e8))
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 100 for line in lines if str(tmp_path) not in line)
    text = " ".join(" ".join(lines).split())
    assert "FAIL slides ended with ZeroDivisionError" in text
    assert "FAIL weights list" in text
    assert "--forget lite0" in text
    assert "FAIL cpu" in text  # its weights are the missing file
    assert "FAIL disk of weights 500 MB free" in text
    assert "set HF_HOME" in text


def test_a_reader_that_returns_other_pixels_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    import openslide

    real = openslide.OpenSlide.read_region
    monkeypatch.setattr(
        openslide.OpenSlide,
        "read_region",
        lambda self, xy, level, size: real(self, (xy[0] + 1, xy[1]), level, size),
    )
    assert doctor._slides().status == "FAIL"


def test_a_device_that_computes_other_numbers_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = np.random.default_rng(0).normal(size=(8, 1280)).astype(np.float32)
    for factor, status in ((1.0, "OK"), (0.9, "FAIL"), (np.nan, "FAIL")):
        other = sound.copy()
        other[3, :640] *= factor
        answers = {"cpu": sound, "cuda": other}
        monkeypatch.setattr(doctor, "_embed", lambda _, device, found=answers: found[device])
        assert doctor._device("cuda").status == status


def test_torch_without_cuda_beside_a_driver_is_told_with_the_line_to_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(doctor, "_nvidia_driver", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", None)
    check = doctor._gpu()
    assert check.status == "WARN"
    assert check.remedy.startswith("pip install --force-reinstall torch torchvision")
    monkeypatch.setattr(torch.version, "cuda", "12.6")
    assert "Update the NVIDIA driver" in doctor._gpu().remedy
    monkeypatch.setattr(doctor, "_nvidia_driver", lambda: False)
    assert doctor._gpu().status == "OK"


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    check = doctor._gpu()
    assert check.status == "OK", check.detail


def test_the_window_is_looked_for_and_not_imported(project_root: Path) -> None:
    code = (
        "import sys; from src_core import doctor; check = doctor._window();"
        "print(check.name, [m for m in ('napari', 'qtpy', 'PyQt6') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=project_root, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["window", "[]"]


def test_what_is_missing_for_the_window_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    check = doctor._window()
    assert (check.status, "napari-fusecpath[gui]" in check.remedy) == ("WARN", True)


def test_progress_is_told_and_stopping_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = Check(name="x", status="OK", detail="fine")
    for name in ("_slides", "_gpu", "_hub", "_threads"):
        monkeypatch.setattr(doctor, name, lambda: fine)
    monkeypatch.setattr(doctor, "_device", lambda name: fine)
    told: list[Progress] = []
    found = examine(project=None, report=told.append, stop=never)
    assert told[-1].done == len(found)
    with pytest.raises(JobCancelled):
        examine(project=None, report=ignore, stop=lambda: True)


def test_a_drive_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda _: False)
    check = doctor._disk("disk of weights", Path("/gone/hub"))
    assert (check.status, check.detail) == ("FAIL", f"{Path('/gone/hub')} is not there")
