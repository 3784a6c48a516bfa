"""What this installation lacks: slides, devices, weights, disks and the window, a line each.

Every check is a function that returns a :class:`Check`. What it finds wrong is told with its
remedy; what it did not expect is a failure with the exception's name, and the next check runs.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from src_core.devices import DeviceName, cpu_threads
from src_core.encoders.hub import cache_size, hub_answers
from src_core.encoders.hub_refusals import cache_folder, existing, has_token, hub_name, size_text
from src_core.encoders.local_weights import local_files, local_list
from src_core.encoders.registry import create_encoder
from src_core.encoders.state_dicts import check_weights_file
from src_core.errors import FusecpathError, WeightsUnavailableError
from src_core.progress import Report, Stop, Tracker
from src_core.types import Float32, Rgb

__all__ = ["Check", "Status", "examine"]

Status: TypeAlias = Literal["OK", "WARN", "FAIL"]

_PACKAGES = ("torch", "torchvision", "timm", "huggingface_hub", "safetensors", "openslide-python")
_BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
_PARITY = 0.9999
"""Least cosine between a device's embedding and the CPU's; real devices give 0.999999."""
_LITTLE_BYTES, _TOO_FEW_BYTES = 10e9, 1e9

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What was looked at, and what was found."""

    name: str
    status: Status
    """WARN: something is missing that not everybody needs."""
    detail: str
    remedy: str = ""
    """What to do about it, a command where there is one."""


def examine(*, project: Path | None, report: Report, stop: Stop) -> list[Check]:
    """Run every check, in less than 20 seconds on a usual machine.

    Parameters
    ----------
    project : Path, optional
        A folder whose disk is looked at as well.
    report, stop : callable
        See :mod:`src_core.progress`.

    Raises
    ------
    JobCancelled
        If `stop` said so.
    """
    checks: dict[str, Callable[[], Check]] = {
        "versions": _versions,
        "threads": _threads,
        "slides": _slides,
        "cpu": partial(_device, "cpu"),
        "gpu": _gpu,
        "hub": _hub,
        "weights list": _weights_list,
        "disk of weights": partial(_disk, "disk of weights", cache_folder()),
        "window": _window,
    }
    if project is not None:
        checks["disk of project"] = partial(_disk, "disk of project", project)
    tracker = Tracker(report, stop, stage="Checking", total=len(checks), unit="checks")
    found = []
    for name, check in checks.items():
        found.append(_guarded(name, check))
        tracker.advance(1, detail=name)
    return found


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    """Run a check; whatever it did not expect is its finding."""
    try:
        return check()
    except FusecpathError as error:
        return Check(name=name, status="FAIL", detail=str(error), remedy="See the sentence.")
    except Exception as error:  # noqa: BLE001 - a broken installation may raise anything
        _log.debug("check %s", name, exc_info=True)
        kind = type(error).__name__
        remedy = "Install napari-fusecpath anew; if that does not help, report this line."
        return Check(name=name, status="FAIL", detail=f"ended with {kind}", remedy=remedy)


def _versions() -> Check:
    found = {name: _version(name) for name in ("napari-fusecpath", *_PACKAGES)}
    lacking = [name for name in _PACKAGES if found[name] is None]
    words = [f"{name} {version}" for name, version in found.items() if version]
    detail = ", ".join([f"Python {platform.python_version()} on {platform.system()}", *words])
    if lacking:
        remedy = f"pip install {' '.join(lacking)}"
        return Check(name="versions", status="FAIL", detail=detail, remedy=remedy)
    return Check(name="versions", status="OK", detail=detail)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _threads() -> Check:
    import psutil
    import torch

    memory = size_text(psutil.virtual_memory().total)
    detail = f"{cpu_threads()} for this process, {torch.get_num_threads()} in torch; {memory} RAM"
    limit = os.environ.get("OMP_NUM_THREADS")
    if limit is not None and torch.get_num_threads() < cpu_threads():
        return Check(
            name="threads",
            status="WARN",
            detail=f"{detail}; OMP_NUM_THREADS={limit} slows the CPU down",
            remedy="Unset OMP_NUM_THREADS.",
        )
    return Check(name="threads", status="OK", detail=detail)


def _slides() -> Check:
    """Write a small pyramid and read it back through OpenSlide."""
    import openslide
    import tifffile

    pixels = np.random.default_rng(0).integers(0, 256, (512, 768, 3)).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.tiff"
        with tifffile.TiffWriter(path) as writer:
            for level, image in enumerate((pixels, pixels[::4, ::4])):
                writer.write(image, tile=(128, 128), photometric="rgb", subfiletype=int(level > 0))
        with openslide.OpenSlide(path) as slide:
            region = np.asarray(slide.read_region((128, 64), 0, (256, 256)))[..., :3]
            levels = slide.level_count
    detail = f"OpenSlide {openslide.__library_version__} reads a TIFF pyramid of {levels} levels"
    if levels != 2 or not np.array_equal(region, pixels[64:320, 128:384]):
        remedy = "pip install --force-reinstall openslide-bin openslide-python"
        wrong = f"{detail}, but not its pixels"
        return Check(name="slides", status="FAIL", detail=wrong, remedy=remedy)
    return Check(name="slides", status="OK", detail=detail)


def _device(name: DeviceName) -> Check:
    """Embed drawn tissue by lite0 and compare with the CPU."""
    patches = _patches()
    here = _embed(patches, name)
    if name == "cpu":
        sound = here.shape == (8, 1280) and bool(np.isfinite(here).all())
        detail = f"lite0 embeds 8 patches as {here.shape[1]} numbers each"
        remedy = "" if sound else "pip install --force-reinstall torch torchvision timm"
        return Check(name=name, status="OK" if sound else "FAIL", detail=detail, remedy=remedy)
    cpu = _embed(patches, "cpu")
    largest = float(np.abs(here - cpu).max())
    norms = np.linalg.norm(here, axis=1) * np.linalg.norm(cpu, axis=1)
    cosine = float(((here * cpu).sum(axis=1) / norms).min())
    detail = f"{name} agrees with the CPU to {largest:.1e}, cosine {cosine:.6f}"
    if not cosine >= _PARITY:  # not for NaN either
        detail = f"{name} differs from the CPU by {largest:.1e}, cosine {cosine:.6f}"
        remedy = "Update the driver and torch; until then give --device cpu."
        return Check(name="gpu", status="FAIL", detail=detail, remedy=remedy)
    return Check(name="gpu", status="OK", detail=detail)


def _gpu() -> Check:
    import torch

    if torch.cuda.is_available():
        return _with_name(_device("cuda"), torch.cuda.get_device_name(0))
    if torch.backends.mps.is_available():
        return _device("mps")
    if not _nvidia_driver():
        detail = "none that torch can use; everything runs on the CPU, slower"
        return Check(name="gpu", status="OK", detail=detail)
    if torch.version.cuda is None:
        detail = f"an NVIDIA driver is here, but torch {torch.__version__} is built for the CPU"
        return Check(name="gpu", status="WARN", detail=detail, remedy=_cuda_line())
    detail = f"an NVIDIA driver is here, but torch's CUDA {torch.version.cuda} cannot use it"
    remedy = "Update the NVIDIA driver, or see what nvidia-smi says."
    return Check(name="gpu", status="WARN", detail=detail, remedy=remedy)


def _with_name(check: Check, device: str) -> Check:
    return Check(
        name=check.name,
        status=check.status,
        detail=f"{device}: {check.detail}",
        remedy=check.remedy,
    )


def _nvidia_driver() -> bool:
    return shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia/version").exists()


def _cuda_line() -> str:
    """Return the command that brings torch with CUDA; PyPI has it for Linux alone."""
    line = "pip install --force-reinstall torch torchvision"
    if sys.platform == "linux":
        return line
    return f"{line} --index-url https://download.pytorch.org/whl/cu126"


def _embed(patches: Rgb, device: DeviceName) -> Float32:
    encoder: Any = create_encoder("lite0", device=device)
    embedded: Float32 = encoder.encode(patches)
    return embedded


def _patches() -> Rgb:
    """Return 8 patches of drawn tissue, uint8 (8, 256, 256, 3)."""
    from src_core.slides.drawing import draw_tissue

    picture, _ = draw_tissue(
        (1024, 512),
        mpp=0.5,
        nodule_fraction=0.5,
        n_pieces=1,
        tissue_fraction=0.9,
        rng=np.random.default_rng(0),
    )
    corners = [(y, x) for y in (0, 256) for x in range(0, 1024, 256)]
    return np.stack([picture[y : y + 256, x : x + 256] for y, x in corners])


def _hub() -> Check:
    token = "a token is stored" if has_token() else "no token, so no gated encoders"
    here = f"{token}; {size_text(cache_size())} of weights in {cache_folder()}"
    if hub_answers():
        return Check(name="hub", status="OK", detail=f"{hub_name()} answers; {here}")
    return Check(
        name="hub",
        status="WARN",
        detail=f"{hub_name()} does not answer; {here}",
        remedy="Connect to the network to download weights, check HTTPS_PROXY, or use files with "
        "fusecpath encoders --use NAME=FILE.",
    )


def _weights_list() -> Check:
    name, files = "weights list", local_files()
    for encoder, path in files.items():
        try:
            check_weights_file(path, what=encoder)
        except WeightsUnavailableError as error:
            remedy = f"fusecpath encoders --use {encoder}=FILE, or --forget {encoder}"
            return Check(name=name, status="FAIL", detail=str(error), remedy=remedy)
    detail = f"{len(files)} of your own files in {local_list()}"
    return Check(name=name, status="OK", detail=detail)


def _disk(name: str, folder: Path) -> Check:
    there = existing(folder)
    if there is None:
        remedy = "Connect the drive, or name another folder (for weights: HF_HOME)."
        return Check(name=name, status="FAIL", detail=f"{folder} is not there", remedy=remedy)
    folder, free = there, shutil.disk_usage(there).free
    detail = f"{size_text(free)} free at {folder}"
    if free >= _LITTLE_BYTES:
        return Check(name=name, status="OK", detail=detail)
    remedy = "Make room."
    if name == "disk of weights":
        remedy = "Make room, or set HF_HOME to a folder on another disk."
    status: Status = "FAIL" if free < _TOO_FEW_BYTES else "WARN"
    return Check(name=name, status=status, detail=detail, remedy=remedy)


def _window() -> Check:
    """Look for what the window needs, without importing any of it."""
    qt = next((binding for binding in _BINDINGS if find_spec(binding)), None)
    lacking = [name for name in ("napari", "OpenGL") if find_spec(name) is None]
    lacking += [] if qt else ["Qt"]
    if lacking:
        detail = f"no {' and no '.join(lacking)}; the commands work without"
        remedy = 'pip install "napari-fusecpath[gui]"'
        return Check(name="window", status="WARN", detail=detail, remedy=remedy)
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    detail = f"napari {_version('napari')} with {qt}"
    if sys.platform == "linux" and not screen:
        remedy = "Set DISPLAY, or work with the commands."
        return Check(name="window", status="WARN", detail=f"{detail}, but no screen", remedy=remedy)
    return Check(name="window", status="OK", detail=detail)
