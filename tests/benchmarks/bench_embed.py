"""How fast patches are embedded, beside what the machine could do: ``make bench-embed``.

For each set of encoders three things are timed in turns: their own work on patches that are already
in memory, the whole way from the slide's file to the store, and the plain loop that a script has,
with bare OpenSlide and a pass for each encoder. On a machine whose every core computes, reading
costs processor time even if nobody waits for it: so processor seconds stand beside the clock's, and
with them what the best possible program would reach.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from src_core.devices import cpu_threads
from src_core.embeddings import EmbeddingStore, embed_patches
from src_core.encoders import create_encoder
from src_core.patches import GridConfig, PatchGrid, build_lattice, read_patches
from src_core.progress import Progress
from src_core.slides import open_slide
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from src_core.types import Rgb

SETS = (("lite0",), ("lite0", "lite1", "texture"), ("lite0", "lite1", "lite2"))
GOAL_ONE, GOAL_MANY = 0.9, 1.1


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock, seconds of all processors, and the share of waiting for the slide."""

    wall: float
    cpu: float
    waiting: float = 0.0


def measure(work: Callable[[], float | None]) -> Cost:
    """Time `work`, which may return how long it waited."""
    began, used = time.perf_counter(), time.process_time()
    waiting = work()
    return Cost(time.perf_counter() - began, time.process_time() - used, waiting or 0.0)


def read(path: Path, grid: PatchGrid) -> Rgb:
    """Return all patches of a grid, in its order."""
    reader = open_slide(path)
    px = grid.lattice.patch_px
    patches = np.empty((len(grid), px, px, 3), np.uint8)
    for rows, some in read_patches(reader, grid.lattice, grid.cells, batch_size=16):
        patches[rows] = some
    reader.close()
    return patches


def _only_read(path: Path, grid: PatchGrid) -> None:
    read(path, grid)


def embed_from_disk(path: Path, grid: PatchGrid, encoders: Sequence[Any]) -> float:
    """Embed into a fresh store; return the share of the time that was spent waiting."""
    last: list[Progress] = []
    reader = open_slide(path)
    with tempfile.TemporaryDirectory() as folder:
        shortfall = embed_patches(
            reader, grid, encoders, EmbeddingStore(Path(folder)), report=last.append
        )
    reader.close()
    if shortfall.sentences(grid.lattice):
        raise SystemExit(f"not all was embedded: {shortfall.sentences(grid.lattice)}")
    found = re.search(r"([\d.]+)% of the time waiting", last[-1].detail)
    return float(found[1]) / 100 if found else 0.0


def embed_plainly(path: Path, grid: PatchGrid, encoders: Sequence[Any]) -> None:
    """Embed as scripts do: a pass for each encoder, each patch read by bare OpenSlide."""
    import openslide

    slide = openslide.OpenSlide(path)
    lattice = grid.lattice
    level = slide.get_best_level_for_downsample(lattice.patch_l0 / lattice.patch_px)
    side = round(lattice.patch_l0 / slide.level_downsamples[level])
    corners = lattice.corners(grid.cells).tolist()
    for encoder in encoders:
        for start in range(0, len(corners), 16):
            batch = [
                np.asarray(
                    slide.read_region((x, y), level, (side, side))
                    .convert("RGB")
                    .resize((lattice.patch_px, lattice.patch_px))
                )
                for x, y in corners[start : start + 16]
            ]
            encoder.encode(np.stack(batch))


def run_bare_network(patches: Rgb) -> Cost:
    """Time the network of lite0 as timm builds it, on tensors that are ready."""
    import timm
    import torch

    network = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    side = 224
    pixels = torch.from_numpy(patches[:, :side, :side]).permute(0, 3, 1, 2).contiguous()
    tensors = [batch.float() / 255 for batch in pixels.split(16)]

    def forward() -> None:
        with torch.inference_mode():
            for tensor in tensors:
                network(tensor)

    forward()
    return measure(forward)


def median(costs: Sequence[Cost]) -> Cost:
    """Return the median of each figure."""
    fields = ("wall", "cpu", "waiting")
    return Cost(*(statistics.median(getattr(cost, name) for cost in costs) for name in fields))


def compare(
    path: Path, grid: PatchGrid, encoders: Sequence[Any], patches: Rgb, rounds: int
) -> tuple[Cost, Cost, Cost]:
    """Return the medians of the encoders' own work, the whole way and the plain one, in turns."""
    own, way, plain = [], [], []

    def compute() -> None:
        for start in range(0, len(patches), 16):
            for encoder in encoders:
                encoder.encode(patches[start : start + 16])

    for _ in range(rounds):
        own.append(measure(compute))
        way.append(measure(lambda: embed_from_disk(path, grid, encoders)))
        plain.append(measure(lambda: embed_plainly(path, grid, encoders)))
    return median(own), median(way), median(plain)


def tell(names: Sequence[str], n: int, own: Cost, way: Cost, plain: Cost, reading: Cost) -> bool:
    """Print one comparison; return whether the goal is met."""
    possible = own.cpu / (own.cpu + reading.cpu)
    ratio = own.wall / way.wall
    print(f"\n{' + '.join(names)}, {n} patches in one pass")
    print(f"  encoders alone     {n / own.wall:8.1f} patches/s  {own.cpu:7.2f} processor s")
    print(f"  slide to store     {n / way.wall:8.1f} patches/s  {way.cpu:7.2f} processor s")
    print(f"  plain loop         {n / plain.wall:8.1f} patches/s  {plain.cpu:7.2f} processor s")
    print(f"  waiting for slide  {way.waiting:8.1%} of the time")
    print(
        f"  of the encoders' own speed {ratio:.3f}; possible with these processors {possible:.3f}"
    )
    if len(names) == 1:
        print(f"  goal: at least {GOAL_ONE}: {'met' if ratio >= GOAL_ONE else 'MISSED'}")
        return ratio >= GOAL_ONE
    cost = way.wall / own.wall
    print(f"  cost {cost:.3f} of the sum; goal at most {GOAL_MANY}: ", end="")
    print("met" if cost <= GOAL_MANY else "MISSED")
    return cost <= GOAL_MANY


def main() -> int:
    """Run all comparisons; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--patches", type=int, default=640, help="patches of each run")
    parser.add_argument("--rounds", type=int, default=3, help="times that each is measured")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    import torch

    torch.set_num_threads(cpu_threads())
    print(f"{platform.platform()}, Python {platform.python_version()}, torch {torch.__version__}")
    print(
        f"{cpu_threads()} threads, load {os.getloadavg()[0]:.1f} of {psutil.cpu_count()} at start"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.tiff"
        side = 256 * (int(asked.patches**0.5) + 1)
        write_sample_slide(path, SyntheticSlide(size_px=(side, side), seed=1))
        grid = _grid(path, asked.patches)
        patches = read(path, grid)
        reading = median([measure(lambda: _only_read(path, grid)) for _ in range(asked.rounds)])
        print(
            f"reading alone {len(grid) / reading.wall:.0f} patches/s, {reading.cpu:.2f} processor s"
        )
        bare = median([run_bare_network(patches) for _ in range(asked.rounds)])
        print(f"timm's network of lite0, tensors in memory: {len(grid) / bare.wall:.1f} patches/s")
        met = True
        for names in SETS:
            encoders: list[Any] = [create_encoder(name, device=asked.device) for name in names]
            for encoder in encoders:
                encoder.encode(patches[:16])
            costs = compare(path, grid, encoders, patches, asked.rounds)
            met &= tell(names, len(grid), *costs, reading)
    return 0 if met else 1


def _grid(path: Path, n: int) -> PatchGrid:
    reader = open_slide(path)
    lattice = build_lattice(reader.properties, GridConfig())
    reader.close()
    rows, columns = lattice.shape_hw
    cells = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    return PatchGrid(lattice, cells[:n].astype(np.int32), "all")


if __name__ == "__main__":
    raise SystemExit(main())
