"""How fast slides are read and shown, and how much memory that takes: ``make bench-slides``.

Ratios within one run say something on any machine; the seconds are those of this one.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parent))  # run as a script, by napari's Python too

from big_slide import write_big_slide  # type: ignore[import-not-found]

SIDE, WINDOW, CORNER, BLOCK = 20_480, 4096, 4096, 1024
LARGE_SIDE = 60_000
MEMORY_BOUND_MB = 64 + 128 + 64
"""OpenSlide's tiles, the pyramid's chunks, and what one view and Python's allocator take."""


def by_openslide(path: Path) -> Any:
    """Read the window by two threads of OpenSlide, 1024 px at once, as RGB."""
    import openslide

    slide = openslide.OpenSlide(path)
    out = np.empty((WINDOW, WINDOW, 3), np.uint8)

    def read(place: tuple[int, int]) -> None:
        y, x = place
        image = slide.read_region((CORNER + x, CORNER + y), 0, (BLOCK, BLOCK))
        out[y : y + BLOCK, x : x + BLOCK] = np.asarray(image.convert("RGB"))

    steps = range(0, WINDOW, BLOCK)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(read, [(y, x) for y in steps for x in steps]))
    return out


def by_pyramid(path: Path) -> Any:
    """Read it as scripts do: ``open_slide(path).pyramid()[0][window].compute()``."""
    from src_core.slides import open_slide

    window = slice(CORNER, CORNER + WINDOW)
    return open_slide(path).pyramid()[0][window, window].compute(scheduler="threads", num_workers=2)


def by_levels(path: Path) -> Any:
    """Read it as the window does."""
    from src_core.slides import open_slide

    window = slice(CORNER, CORNER + WINDOW)
    return open_slide(path).levels()[0][window, window]


def by_pyramid_through_openslide(path: Path) -> Any:
    """Read it as scripts do where simplejpeg is missing."""
    with patch.dict(sys.modules, {"simplejpeg": None}):
        return by_pyramid(path)


def by_napari_wsi(path: Path) -> Any:
    """Read it by napari-wsi's arrays."""
    from napari_wsi.backends.common import WSIReaderBackend
    from napari_wsi.common import open_store

    window = slice(CORNER, CORNER + WINDOW)
    store = open_store(path=path, backend=WSIReaderBackend.OPENSLIDE)
    return np.asarray(store.to_layer_data_tuples()[0][0][0][window, window])[..., :3]


READERS: dict[str, Callable[[Path], Any]] = {
    "OpenSlide, 2 threads, RGB": by_openslide,
    "pyramid()": by_pyramid,
    "levels(), as the window": by_levels,
    "pyramid(), by OpenSlide": by_pyramid_through_openslide,
    "napari-wsi": by_napari_wsi,
}


def bench_reading(folder: Path, repetitions: int) -> None:
    """Print seconds and ratios of the ways to read one window."""
    path = write_big_slide(folder / "reading.tiff", SIDE)
    wanted = by_openslide(path)
    readers = {}
    for name, read in READERS.items():
        try:
            found = read(path)
        except ImportError as error:
            print(f"{name} is left out: {error}")
            continue
        difference = int(np.abs(found.astype(np.int16) - wanted).max())
        if difference > 2:
            raise SystemExit(f"{name} reads other pixels (by {difference} grey levels).")
        readers[name] = read
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(repetitions):
        for name, read in readers.items():
            gc.collect()
            start = time.perf_counter()
            read(path)
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    base = medians["OpenSlide, 2 threads, RGB"]
    print(f"\nA window of {WINDOW} x {WINDOW} px of {SIDE} x {SIDE}, JPEG tiles of 256 px, 4:2:0;")
    print(f"median of {repetitions} alternating repetitions, fresh handles and caches\n")
    print("| read by | s | Mpx/s | times OpenSlide |\n|---|---|---|---|")
    for name, value in medians.items():
        print(f"| {name} | {value:.2f} | {WINDOW**2 / 1e6 / value:.0f} | {base / value:.2f} |")
    if "napari-wsi" in medians:
        print(f"\npyramid() / napari-wsi: {medians['napari-wsi'] / medians['pyramid()']:.1f}")


def bench_opening(folder: Path) -> None:
    """Print how long it takes from the drop of a large slide to its picture on the canvas."""
    path = write_big_slide(folder / "opening.tiff", LARGE_SIDE)
    print(f"\nFrom the drop to the picture on the canvas ({LARGE_SIDE} x {LARGE_SIDE} px)\n")
    print("| window | what is opened | s |\n|---|---|---|")
    for first in ("picture", "slide", "dock"):
        done = subprocess.run(
            [sys.executable, __file__, "--window", str(path), "--first", first],
            capture_output=True,
            text=True,
            check=False,
        )
        print("".join(line + "\n" for line in done.stdout.splitlines() if line[:1] == "|"), end="")
        if done.returncode:
            raise SystemExit(done.stderr)


def time_window(path: Path, first: str) -> None:
    """Open a slide and a small picture in a window of this process and print the seconds."""
    import napari
    from qtpy.QtWidgets import QApplication

    viewer = napari.Viewer(show=True)
    app: Any = QApplication.instance()

    def drawn(layer: Any) -> None:
        deadline = time.monotonic() + 60
        while not layer.loaded and time.monotonic() < deadline:
            app.processEvents()
        picture = viewer.screenshot(canvas_only=True, flash=False)
        if layer.rgb and not (picture[..., :3].std() > 10):
            raise SystemExit("The slide is not on the canvas.")

    def settle(seconds: float) -> None:
        settled = time.monotonic() + seconds
        while time.monotonic() < settled:
            app.processEvents()

    viewer.screenshot(canvas_only=True, flash=False)
    if first == "dock":
        viewer.window.add_plugin_dock_widget("napari-fusecpath", "FuseCPath")
        settle(5)
    order = ["picture", "slide", "slide"] if first == "picture" else ["slide", "slide", "picture"]
    for place, what in enumerate(order):
        start = time.perf_counter()
        if what == "picture":
            layer = viewer.add_image(np.zeros((64, 64), np.uint8))
        else:
            (layer,) = viewer.open(path, plugin="napari-fusecpath")
        drawn(layer)
        seconds = time.perf_counter() - start
        state = "used" if place else "with the dock" if first == "dock" else "fresh"
        again = " again" if what in order[:place] else ""
        named = "picture of 64 x 64 (add_image)" if what == "picture" else "slide"
        print(f"| {state} | {named}{again} | {seconds:.2f} |", flush=True)
        settle(3)  # the scale bar comes after the first slide
        viewer.layers.clear()
        app.processEvents()
    viewer.close()


def bench_panning(folder: Path, windows: int) -> None:
    """Pan over a large slide, at all levels, and hold the growth of memory against its bound."""
    from src_core.slides import open_slide

    path = write_big_slide(folder / "panning.tiff", LARGE_SIDE)
    levels, rng = open_slide(path).levels(), np.random.default_rng(0)
    process = psutil.Process()
    levels[0][:1200, :1600]
    before = most = process.memory_info().rss
    start = time.perf_counter()
    for _ in range(windows):
        level = levels[rng.integers(len(levels))]
        y, x = (int(rng.integers(max(1, side - 1600))) for side in level.shape[:2])
        level[y : y + 1200, x : x + 1600]
        most = max(most, process.memory_info().rss)
    growth, seconds = (most - before) / 2**20, time.perf_counter() - start
    print(
        f"\n{windows} views of 1600 x 1200 px all over the slide, {seconds / windows:.3f} s each;"
    )
    print(f"memory grew by {growth:.0f} MB at most (bound: {MEMORY_BOUND_MB} MB)")
    if growth > MEMORY_BOUND_MB:
        raise SystemExit("Reading takes more memory than it may.")


def main() -> None:
    """Run all of it, or what the parent process asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--window", type=Path)
    parser.add_argument("--first", choices=["picture", "slide", "dock"], default="slide")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--views", type=int, default=400)
    options = parser.parse_args()
    if options.window:
        time_window(options.window, options.first)
        return
    packages = ("openslide-bin", "simplejpeg", "dask", "napari")
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores,")
    print(f"{psutil.virtual_memory().total / 2**30:.0f} GB; load {os.getloadavg()[0]:.1f};")
    print(", ".join(f"{name} {version(name)}" for name in packages))
    with tempfile.TemporaryDirectory() as folder:
        bench_reading(Path(folder), options.repetitions)
        bench_panning(Path(folder), options.views)
        bench_opening(Path(folder))


if __name__ == "__main__":
    main()
