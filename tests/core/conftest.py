"""A slide in memory, whose every pixel a test chooses."""

from __future__ import annotations

import json
import math
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike

from src_core.embeddings.stored import Stored
from src_core.errors import SlideReadError
from src_core.slides.base import SlideProperties, Stain
from src_core.training.config import TrainConfig
from src_core.types import Rgb


class MemorySlide:
    """A `SlideReader` over an array; coarser levels are its averages."""

    def __init__(
        self,
        pixels: Any,
        *,
        mpp: Any = 0.5,
        factors: Any = (1,),
        bounds: Any = None,
        offset_xy: Any = (0, 0),
        stain: Stain = "brightfield",
        name: str = "memory.svs",
    ):
        """Lay `pixels` at `offset_xy`; the rest of the slide is background."""
        self.levels = [np.asarray(pixels)]
        for factor in factors[1:]:
            height, width = (side // factor for side in pixels.shape[:2])
            part = pixels[: height * factor, : width * factor].astype(float)
            mean = part.reshape(height, factor, width, factor, 3).mean(axis=(1, 3))
            self.levels.append(np.rint(mean).astype(np.uint8))
        height, width = pixels.shape[:2]
        self.offset_xy = offset_xy
        self.reads: list[tuple[tuple[int, int], int, tuple[int, int]]] = []
        self.fail_inside = None  # (x, y) whose region cannot be read
        self._lock = threading.Lock()
        self._stain = stain
        self.properties = SlideProperties(
            path=Path(name),
            vendor="memory",
            level_dimensions=tuple((a.shape[1], a.shape[0]) for a in self.levels),
            downsamples=tuple(float(factor) for factor in factors),
            mpp=mpp,
            mpp_source="user" if mpp else "unknown",
            objective_power=None,
            bounds_xywh=bounds or (*offset_xy, width, height),
            background_rgb=(255, 255, 255),
        )

    pyramid_origin_xy = (0, 0)

    def read_region(self, xy: tuple[int, int], level: int, size: tuple[int, int]) -> Rgb:
        """Read pixels, background outside."""
        with self._lock:
            self.reads.append((xy, level, size))
        down = self.properties.downsamples[level]
        if self.fail_inside is not None:
            x, y = self.fail_inside
            if 0 <= x - xy[0] < size[0] * down and 0 <= y - xy[1] < size[1] * down:
                raise SlideReadError(f"{self.properties.path} cannot be read at {xy}")
        out = np.full((size[1], size[0], 3), 255, np.uint8)
        left = round((xy[0] - self.offset_xy[0]) / down)
        top = round((xy[1] - self.offset_xy[1]) / down)
        source = self.levels[level]
        x0, y0 = max(0, left), max(0, top)
        part = source[y0 : max(y0, top + size[1]), x0 : max(x0, left + size[0])]
        height, width = part.shape[:2]
        out[y0 - top : y0 - top + height, x0 - left : x0 - left + width] = part
        return out

    def stain(self) -> Stain:
        """Say what the test wants."""
        return self._stain

    def pyramid(self, cache: Path | None = None):
        """Unused."""
        raise NotImplementedError

    def close(self) -> None:
        """Do nothing."""


@pytest.fixture(scope="session")
def memory_slide() -> type[MemorySlide]:
    """Make slides from arrays: ``memory_slide(pixels, mpp=0.5, factors=(1, 4))``."""
    return MemorySlide


@pytest.fixture(scope="session")
def noise() -> Rgb:
    """Smooth coloured noise, 1100 x 1300 px: no two places are alike."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (111, 131, 3)).astype(np.uint8)
    fine = np.repeat(np.repeat(coarse, 10, axis=0), 10, axis=1)[:1100, :1300]
    return (fine // 2 + rng.integers(0, 100, fine.shape)).astype(np.uint8)


@pytest.fixture(scope="session")
def stained() -> Rgb:
    """Glass with two pieces of tissue, a speck and a hole, 2000 x 3000 px."""
    rng = np.random.default_rng(1)
    pixels = np.full((2000, 3000, 3), (243, 242, 244), np.uint8)
    pixels[400:1400, 300:1300] = (190, 120, 170)
    pixels[800:1500, 1900:2700] = (220, 150, 180)
    pixels[600:640, 2000:2040] = (190, 120, 170)  # a speck of 20 um
    pixels[900:960, 700:760] = (243, 242, 244)  # a hole of 30 um
    return np.clip(pixels + rng.integers(-4, 5, pixels.shape), 0, 255).astype(np.uint8)


class MemoryView:
    """One encoder's embeddings in memory, as the store's views offer them."""

    def __init__(self, values: Any, encoder: str = "planted") -> None:
        """Keep `values`, shape (N, dim)."""
        self.values = np.asarray(values)
        if self.values.dtype != np.float16:
            self.values = self.values.astype(np.float32)
        self.opened: list[weakref.ref[Any]] = []
        self.encoder, self.dim = encoder, self.values.shape[1]
        self.recipe = {"encoder": encoder}

    def __len__(self) -> int:
        """Return the number of patches."""
        return len(self.values)

    def rows(self, indices: Any) -> Any:
        """Return some embeddings."""
        return self.values[np.asarray(indices)]

    def stored(self) -> Stored:
        """Return all of them; `opened` knows which of the arrays are still in use."""
        array = self.values.view()
        self.opened.append(weakref.ref(array))
        return Stored(array, np.arange(len(self)))

    @property
    def n_open(self) -> int:
        """Return how many arrays that `stored` gave are still in use."""
        return sum(one() is not None for one in self.opened)


class PlantedCohort:
    """Slides whose class is written in a few of their patches, and where is known.

    A patch's kind moves its embedding along an axis; slides of class 1 and above have `share` of
    their patches of that kind, all others are of kind 0, and clusters gather what lies close.
    """

    view = MemoryView

    def __call__(
        self,
        n_slides: int = 24,
        *,
        n_patches: int = 60,
        n_classes: int = 2,
        share: float = 0.2,
        strength: float = 4.0,
        dims: tuple[int, ...] = (24, 8),
        seed: int = 0,
        patients: int | None = None,
    ) -> Any:
        """Return a `Cohort`."""
        from src_core.bags.cohort import Cohort, CohortSlide

        rng = np.random.default_rng(seed)
        slides = []
        for index in range(n_slides):
            target = index % n_classes
            truth = np.zeros(n_patches, np.int32)
            truth[: round(share * n_patches) if target else 0] = target
            rng.shuffle(truth)
            views = []
            for place, dim in enumerate(dims):
                values = rng.normal(size=(n_patches, dim)) * 3 ** (place + 1) + 5
                values[:, 1:n_classes] += (
                    strength * 3 ** (place + 1) * np.eye(n_classes)[truth][:, 1:]
                )
                views.append(MemoryView(values, f"planted{place}"))
            # Six clusters, the planted kinds mostly in one, as clustering would leave them.
            labels = np.where(truth > 0, 5, rng.integers(0, 6, n_patches)).astype(np.int32)
            labels[rng.integers(0, n_patches, 2)] = -1
            slides.append(
                CohortSlide(
                    slide_id=f"s{index}",
                    patient_id=f"p{index if patients is None else index % patients}",
                    target=target,
                    views=tuple(views),
                    labels=labels,
                    cells=np.stack(np.divmod(np.arange(n_patches), 10)[::-1], 1).astype(np.int32),
                    truth=truth,
                )
            )
        names = ("normal", "tumour", "other")[:n_classes]
        return Cohort(slides=tuple(slides), classes=names, target_name="diagnosis")


@pytest.fixture(scope="session")
def planted() -> PlantedCohort:
    """Make cohorts that can be learned: ``planted(24, n_classes=2, seed=0)``."""
    return PlantedCohort()


@pytest.fixture(scope="session")
def quick() -> TrainConfig:
    """Settings that learn a planted cohort in seconds."""
    return TrainConfig(
        width=32,
        epochs=8,
        bags_per_slide=1,
        batch_size=4,
        learning_rate=2e-3,
        branch_rate=8e-3,
        n_bags=2,
        seed=1,
        patience=None,
        device="cpu",
    )


@pytest.fixture(scope="session")
def sparse_array() -> Callable[[Path, DTypeLike, tuple[int, ...]], None]:
    """Write an array of zeros as long as it says that takes no room: a trap for who copies it."""

    def write(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> None:
        with path.open("wb") as stream:
            header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(stream, header)
            stream.truncate(stream.tell() + math.prod(shape) * np.dtype(dtype).itemsize)

    return write


@pytest.fixture(scope="session")
def embedded_pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of the slides ``s0`` and ``s1``, embedded by `texture`; copy it to change it."""
    from src_core.cli import main
    from src_core.slides.synthetic import SyntheticSlide, write_sample_slide

    folder = tmp_path_factory.mktemp("pair")
    slides = [folder / f"s{number}.tiff" for number in range(2)]
    for number, path in enumerate(slides):
        slide = SyntheticSlide(size_px=(2048, 2048), nodule_fraction=0.3, seed=number)
        write_sample_slide(path, slide)
    root = folder / "p"
    command = ["prepare", str(root), *map(str, slides), "--encoders", "texture", "--json"]
    assert main(command) == 0
    return root


@pytest.fixture(scope="session")
def trained_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of eight labelled slides and one more, trained once; copy it to change it."""
    from tests.core.marked_project import train_project

    return train_project(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def clustered_patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clustered project of ten slides of seven patients; copy it to change it."""
    from tests.core.seven_patients import cluster_patients

    return cluster_patients(tmp_path_factory.mktemp("patients"))


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Return a function that runs the command and gives its JSON: ``answer("cluster", root)``."""
    from src_core.cli import main

    def run(*arguments: object, status: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        assert main([*map(str, arguments), "--json"]) == status
        return dict(json.loads(capsys.readouterr().out))

    return run


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Give a dask cluster of two workers, processes of their own."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        silence_logs=50,
    ) as running:
        yield running
