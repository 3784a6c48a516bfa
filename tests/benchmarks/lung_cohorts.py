"""Cohorts whose truth is known, made of stored embeddings of real lung patches (LC25000).

Every patch is brought to one look, so that colour alone tells no class, and embedded once, as it is
and after a quarter turn; what is built from the embeddings costs seconds. A slide is a square of
normal lung with a round nodule of one or two origins in it. Origins (pictures of which the data
set holds several altered copies) are dealt to donors before any slide is built: each donor is a
patient with tissue of its own, each fold has donors of its own, and no split can measure memory.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import platformdirs
from numpy.typing import NDArray
from PIL import Image
from skimage.color import lab2rgb, rgb2lab

from src_core.bags.cohort import Cohort, CohortSlide
from src_core.embeddings.stored import Stored
from src_core.provenance import recipe_id, write_array
from src_core.seeding import derive_seed, generator
from src_core.types import Float32, Float64, Int64, Labels, Rgb

__all__ = [
    "DONORS",
    "ENCODERS",
    "FOLDS",
    "TASKS",
    "TURNS",
    "LungCohort",
    "LungPatches",
    "Outcomes",
    "StoredView",
    "Task",
    "normalised",
]

ENCODERS = ("lite0", "lite1", "texture")
KINDS = ("lung_n", "lung_aca", "lung_scc")
FOLDS, DONORS = 5, 20
N_CLUSTERS, N_PER_CLUSTER = 15, 10
SIDES = (16, 19)
"""Patches along the smallest and the largest slide: 256 to 361 patches."""

ValueTask: TypeAlias = Literal["regression", "survival"]

_LOOK_MEAN = np.array([66, 24, -14], np.float32)
_LOOK_SPREAD = np.array([14, 9, 8], np.float32)
TURNS = (0, 1)
_LOG_HAZARD_PER_SD = 1.5
_CENSORED = 0.3


@cache
def normalised(path: Path) -> Rgb:
    """Read a patch with the mean and spread of a common H&E look (Reinhard 2001, in CIELAB).

    Colour alone must not tell the classes apart.
    """
    pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32) / 255
    lab = rgb2lab(pixels)
    spread = lab.std(axis=(0, 1)) + 1e-3
    lab = (lab - lab.mean(axis=(0, 1))) / spread * _LOOK_SPREAD + _LOOK_MEAN
    return np.rint(lab2rgb(lab) * 255).astype(np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What the slides of a cohort hold and what is asked of them."""

    classes: tuple[str, ...]
    nodules: tuple[Literal["none", "lung_aca", "lung_scc", "any"], ...]
    """What lies in the slides of each class."""
    share: tuple[float, float] = (0.05, 0.30)
    """Least and largest share of a slide's patches that the nodule has."""
    most_origins: int = 2


_TUMOUR = Task(classes=("normal", "tumour"), nodules=("none", "any"))
_SUBTYPE = Task(classes=("aca", "scc"), nodules=("lung_aca", "lung_scc"))

TASKS: Mapping[str, Task] = MappingProxyType(
    {
        "tumour": _TUMOUR,
        "large tumour": Task(
            classes=_TUMOUR.classes, nodules=_TUMOUR.nodules, share=(0.30, 0.60)
        ),
        "sparse tumour": Task(
            classes=_TUMOUR.classes, nodules=_TUMOUR.nodules, share=(0.01, 0.02)
        ),
        "subtype": _SUBTYPE,
        "hard subtype": Task(
            classes=_SUBTYPE.classes, nodules=_SUBTYPE.nodules, share=(0.02, 0.10), most_origins=1
        ),
        "three": Task(
            classes=("normal", "aca", "scc"), nodules=("none", "lung_aca", "lung_scc")
        ),
        # One class, for what is asked is in the outcomes.
        "outcomes": Task(classes=("tumour",), nodules=("any",)),
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredView:
    """One encoder's embeddings of a slide, as rows of those of all patches."""

    encoder: str
    recipe: Mapping[str, Any]
    embeddings: Float32
    """Shape (patches of all slides, dim)."""
    chosen: Int64
    """Which of them the slide's are, shape (N,)."""

    @property
    def dim(self) -> int:
        """Width of one embedding."""
        return self.embeddings.shape[1]

    def __len__(self) -> int:
        """Return the number of patches."""
        return len(self.chosen)

    def rows(self, indices: Int64, /) -> Float32:
        """Return some patches' embeddings, shape (k, dim)."""
        return self.embeddings[self.chosen[indices]]

    def stored(self) -> Stored:
        """Return those of all patches, and which of them are the slide's."""
        return Stored(self.embeddings, self.chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What can be asked of slides beside their class; each of shape (n_slides,).

    Times are the slides' own: for survival each slide has to be a patient.
    """

    fraction: Float64
    """Share of the patches that are tumour."""
    time: Float64
    """Until death or the end of observation."""
    event: NDArray[np.bool_]
    """True where the time ends in death."""
    log_hazard: Float64
    """What the times were drawn from; no model can know more."""

    @classmethod
    def draw(cls, fraction: Float64, share: tuple[float, float], rng: np.random.Generator) -> Self:
        """Draw exponential times of death, 30 % of them hidden by an earlier end."""
        spread = (share[1] - share[0]) / 12**0.5  # of a uniform distribution
        log_hazard = _LOG_HAZARD_PER_SD * (fraction - np.mean(share)) / spread
        death = rng.exponential(np.exp(-log_hazard))
        event = rng.random(len(fraction)) >= _CENSORED
        time = np.where(event, death, death * rng.uniform(0.2, 1.0, len(death)))
        return cls(fraction=fraction, time=time, event=event, log_hazard=log_hazard)

    def true_concordance(self) -> float:
        """Return Harrell's C-index of the hazard that the times were drawn from."""
        comparable = (self.time[:, None] < self.time) & self.event[:, None]
        ahead = self.log_hazard[:, None] - self.log_hazard
        return float(((ahead > 0) + 0.5 * (ahead == 0))[comparable].mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class LungCohort:
    """Slides of one task; the truth of each patch is in the slides."""

    cohort: Cohort
    origins: tuple[tuple[str, ...], ...]
    """Of each slide's nodule."""
    outcomes: Outcomes

    def of_fraction(self) -> Cohort:
        """Return the slides with the share of tumour as what is to be told."""
        return self._of_values(self.outcomes.fraction[:, None], "regression", ("fraction",))

    def of_survival(self) -> Cohort:
        """Return the slides with their times; each is a patient of its own."""
        values = np.stack([self.outcomes.time, self.outcomes.event], axis=1)
        return self._of_values(values, "survival", ("time", "event"))

    def _of_values(self, values: Float64, kind: ValueTask, columns: tuple[str, ...]) -> Cohort:
        survival = kind == "survival"
        slides = tuple(
            replace(
                slide,
                target=-1,
                values=tuple(map(float, row)),
                patient_id=slide.slide_id if survival else slide.patient_id,
            )
            for slide, row in zip(self.cohort.slides, values, strict=True)
        )
        return Cohort(
            slides=slides,
            classes=("log-hazard",) if survival else columns,
            target_name=kind,
            task=kind,
            per="patient" if survival else "slide",
            columns=columns,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    rows: Int64
    """Of the patches, by cell, row by row of a square."""
    origins: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LungPatches:
    """All patches, embedded; row ``i`` of everything is the same patch."""

    views: tuple[Float32, ...]
    recipes: tuple[Mapping[str, Any], ...]
    kinds: NDArray[np.str_]
    origins: NDArray[np.str_]
    donors: Int64
    cache: Path
    files: tuple[Path, ...] = ()
    """Where the pictures are, `TURNS` rows each."""

    @classmethod
    def load(cls, folder: Path, cache: Path | None = None) -> Self:
        """Read stored embeddings, or make and store them first: minutes, once.

        Parameters
        ----------
        folder : path
            Of the patches, with ``labels.csv``.
        cache : path, optional
            By default a folder of the user's cache.
        """
        cache = cache or platformdirs.user_cache_path("fusecpath-benchmarks", appauthor=False)
        with (folder / "labels.csv").open(encoding="utf-8") as stream:
            table = list(csv.DictReader(stream))
        files = [folder / row["file"] for row in table]
        stored = [_embedded(name, files, cache) for name in ENCODERS]
        kinds = np.repeat([row["label"] for row in table], len(TURNS))
        origins = np.repeat([row["group"] for row in table], len(TURNS))
        return cls(
            views=tuple(view for view, _ in stored),
            recipes=tuple(recipe for _, recipe in stored),
            kinds=kinds,
            origins=origins,
            donors=deal(kinds, origins),
            cache=cache,
            files=tuple(files),
        )

    def fold(
        self, task: str, fold: int, *, seed: int, n_train: int = 96, n_test: int = 72
    ) -> tuple[LungCohort, LungCohort]:
        """Return (training, test) slides: the donors of one fold are tested."""
        tested = [donor for donor in range(DONORS) if donor % FOLDS == fold]
        others = [donor for donor in range(DONORS) if donor % FOLDS != fold]
        return (
            self.cohort(task, others, n_train, seed=seed),
            self.cohort(task, tested, n_test, seed=seed),
        )

    def cohort(self, task: str, donors: Sequence[int], n_slides: int, *, seed: int) -> LungCohort:
        """Build slides of some donors, each donor and each class in turn.

        Parameters
        ----------
        task : str
            One of `TASKS`.
        donors : sequence of int
            Below `DONORS`.
        n_slides, seed : int
            A slide is the same for the same task, seed, donor and turn of the donor.
        """
        asked, n_classes = TASKS[task], len(TASKS[task].classes)
        slides, drawn = [], []
        for number in range(n_slides):
            turn, place = divmod(number, len(donors))
            target, name = (turn + place) % n_classes, f"{task}-{seed}-{donors[place]}-{turn}"
            drawn.append(self._draw(asked, target, donors[place], generator(seed, name)))
            patient = f"donor {donors[place]}"
            slides.append(self._slide(asked, name, patient, target, drawn[-1].rows))
        fraction = np.array([np.mean(self.kinds[one.rows] != KINDS[0]) for one in drawn])
        rng = generator(seed, task, "outcomes", *donors)
        return LungCohort(
            cohort=Cohort(slides=tuple(slides), classes=asked.classes, target_name=task),
            origins=tuple(one.origins for one in drawn),
            outcomes=Outcomes.draw(fraction, asked.share, rng),
        )

    def _draw(self, task: Task, target: int, donor: int, rng: np.random.Generator) -> _Drawn:
        """Draw the patches of a slide: a disc of tumour somewhere in a square of normal lung."""
        side = int(rng.integers(SIDES[0], SIDES[1], endpoint=True))
        own = self.donors == donor
        rows = rng.choice(np.flatnonzero(own & (self.kinds == KINDS[0])), side**2)
        kind: str = task.nodules[target]
        if kind == "none":
            return _Drawn(rows=rows, origins=())
        if kind == "any":
            kind = KINDS[1 + int(rng.integers(2))]
        there = np.unique(self.origins[own & (self.kinds == kind)])
        origins = rng.choice(there, int(rng.integers(1, task.most_origins, endpoint=True)), False)
        n_cells = max(2, round(rng.uniform(*task.share) * side**2))
        away = np.hypot(*(np.indices((side, side)) - rng.uniform(1, side - 2, (2, 1, 1))))
        cells = np.argsort(away, axis=None)[:n_cells]
        rows[cells] = rng.choice(np.flatnonzero(np.isin(self.origins, origins)), n_cells)
        return _Drawn(rows=rows, origins=tuple(map(str, origins)))

    def _slide(self, task: Task, name: str, patient: str, target: int, rows: Int64) -> CohortSlide:
        views = zip(ENCODERS, self.recipes, self.views, strict=True)
        side = round(len(rows) ** 0.5)
        tumour = self.kinds[rows] != KINDS[0]
        normal = 0 if task.nodules[0] == "none" else len(task.classes)
        return CohortSlide(
            slide_id=name,
            patient_id=patient,
            target=target,
            views=tuple(
                StoredView(encoder=encoder, recipe=recipe, embeddings=view, chosen=rows)
                for encoder, recipe, view in views
            ),
            labels=self._clusters(name, rows),
            cells=np.stack(np.divmod(np.arange(side**2), side)[::-1], axis=1).astype(np.int32),
            truth=np.where(tumour, target, normal).astype(np.int32),
        )

    def _clusters(self, name: str, rows: Int64) -> Labels:
        """Cluster a slide's patches by its own views, or read how they were clustered before."""
        from src_core.clustering import ClusterConfig, cluster_views

        config = ClusterConfig(
            n_clusters=N_CLUSTERS, n_per_cluster=N_PER_CLUSTER, seed=derive_seed(0, name) % 2**32
        )
        content = hashlib.sha256(rows.tobytes()).hexdigest()
        key = recipe_id({"of": content, "views": list(self.recipes), **config.to_dict()})
        path = self.cache / "clusters" / f"{key}.npy"
        if not path.is_file():
            labels = cluster_views([view[rows] for view in self.views], config).labels
            path.parent.mkdir(parents=True, exist_ok=True)
            write_array(path, labels)
        return np.load(path, allow_pickle=False)


def _embedded(name: str, files: Sequence[Path], cache: Path) -> tuple[Float32, Mapping[str, Any]]:
    """Return an encoder's embeddings of all patches, each turn of each, and their recipe."""
    from src_core.encoders import create_encoder

    encoder: Any = create_encoder(name, device="cpu")
    recipe = {
        **encoder.card.recipe(),
        "look": [*map(float, _LOOK_MEAN), *map(float, _LOOK_SPREAD)],
        "turns": list(TURNS),
        "patches": [f"{path.parent.name}/{path.name}" for path in files],
    }
    path = cache / f"lung-{name}-{recipe_id(recipe)}.npy"
    if not path.is_file():
        parts = []
        for start in range(0, len(files), 32):
            pixels = [normalised(one) for one in files[start : start + 32]]
            parts.append(encoder.encode(np.stack([np.rot90(p, k) for p in pixels for k in TURNS])))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_array(path, np.concatenate(parts))
    return np.load(path, allow_pickle=False), {"encoder": name, "of": recipe_id(recipe)}


def deal(kinds: NDArray[np.str_], origins: NDArray[np.str_]) -> Int64:
    """Return the donor of each patch: the origins of a kind are dealt out like cards."""
    donors = np.zeros(len(origins), dtype=np.int64)
    for kind in KINDS:
        names = np.unique(origins[kinds == kind])
        order = generator(0, "donors", kind).permutation(len(names))
        for place, name in enumerate(names[order]):
            donors[origins == name] = place % DONORS
    return donors
