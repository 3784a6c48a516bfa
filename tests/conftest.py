"""What every test may use."""

from __future__ import annotations

import gc
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Arrays of tests are small: threads cost more than they bring, tenfold where cores are shared.
# Before NumPy is loaded, and for the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the command does, for tests with more threads

# What is remembered of files in temporary folders, and of runs of tests, is not the user's to keep.
_hashes = tempfile.TemporaryDirectory(prefix="fusecpath-hashes-")
os.environ["FUSECPATH_FILE_HASHES"] = str(Path(_hashes.name) / "file-hashes.json")
os.environ["NAPARI_CONFIG"] = ""  # nor are settings: napari writes them at each change
os.environ["FUSECPATH_PACE"] = str(Path(_hashes.name) / "pace.json")

ROOT = Path(__file__).resolve().parents[1]

# Machines are shared and noisy: a slow example is no failure, the same examples every time are.
settings.register_profile(
    "fusecpath",
    deadline=None,
    derandomize=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("fusecpath")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that hold slow tests: a long one at the end has one core of many."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """Let searches for garbage pass over modules and tests: they all last until the end."""
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Search for garbage once more: pytest does so ten times, among all that was ever loaded."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def project_root() -> Path:
    """Folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real slides and patches, which lies beside the checkout or nowhere."""
    folder = Path(os.environ.get("FUSECPATH_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real test data are not at {folder} (set FUSECPATH_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def small_slide(shared_data: Path) -> Path:
    """A real H&E slide: Aperio SVS, 2220 x 2967 px, one level, mpp 0.499."""
    path = shared_data / "slides" / "CMU-1-Small-Region.svs"
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    return path


@pytest.fixture(scope="session")
def lung_patches(shared_data: Path) -> Path:
    """Folder of labelled H&E patches with `labels.csv` (file, label, group)."""
    folder = shared_data / "patches" / "lc25000-lung"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing")
    return folder
