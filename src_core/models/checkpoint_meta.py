"""What a checkpoint says of itself, readable without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self, get_args

from src_core import RESEARCH_USE
from src_core.bags.target_scale import TargetScale
from src_core.bags.targets import Target
from src_core.errors import CheckpointError, ConfigError, ProjectError
from src_core.models.config import StudentConfig
from src_core.models.learned_risks import LearnedRisks
from src_core.models.operating_point import OperatingPoint
from src_core.provenance import read_json
from src_core.types import Json, Level

__all__ = [
    "FORMAT_VERSION",
    "META_NAME",
    "TENSORS_NAME",
    "CheckpointMeta",
    "EmbeddingSource",
    "checkpoint_meta",
    "program_name",
]

FORMAT_VERSION = 2
_READABLE = (1, 2)
"""Of format 1, which knew classes alone, what it lacks has a default."""

META_NAME = "checkpoint.json"
TENSORS_NAME = "model.safetensors"

_MAX_SOURCES = 64
_MAX_TEXT = 2_000
_MOST_AXES = 256


def program_name(tool: str) -> str:
    """Return how a program that embeddings were imported from is spelt."""
    return {"trident": "TRIDENT", "clam": "CLAM", "stamp": "STAMP"}.get(tool, "a file")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingSource:
    """An encoder or a teacher as the checkpoint knew it."""

    name: str
    dim: int
    licence: str
    recipe: dict[str, Json] = field(default_factory=dict)
    """What decides its embeddings' bytes; a prediction checks it."""
    commercial: bool | None = None
    """Whether its licence allows commercial use; None where it does not say."""

    def __post_init__(self) -> None:
        """Refuse what no encoder's card could say."""
        _text("an encoder's name", self.name)
        _text(f"the licence of {self.name}", self.licence)
        _number(f"the length of {self.name}", self.dim, low=1, high=65_536, whole=True)
        _named(f"the recipe of {self.name}", self.recipe)
        if self.commercial is not None and not isinstance(self.commercial, bool):
            raise CheckpointError(f"The licence of {self.name} is unreadable; use another file.")

    @property
    def imported(self) -> str | None:
        """A sentence on who made its embeddings; None where this program did."""
        tool = self.recipe.get("imported")
        if not isinstance(tool, str):
            return None
        slides = self.recipe.get("imported_slides")
        which = f" of {slides} slides" if isinstance(slides, int) else ""
        return f"Embeddings by {self.name[:100]}{which} were imported from {program_name(tool)}."


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointMeta:
    """Everything about a trained student but its weights.

    Raises
    ------
    CheckpointError
        When it is made, if the parts do not fit one another.
    """

    student: StudentConfig
    encoders: tuple[EmbeddingSource, ...]
    """In the order in which their embeddings are concatenated."""
    target_name: str
    """Column of the labels table; where there are several, their names parted by commas."""
    classes: tuple[str, ...]
    """What the outputs are called: classes, or regression targets; survival has one name."""
    target_columns: tuple[str, ...] = ()
    """Columns of the labels table, if not `target_name` alone."""
    per: Level = "slide"
    """Whose the labels were: a patient's prediction is the mean of the slides'."""
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()
    """Of each regression target on the training slides, in the user's unit: the outputs are
    standard deviations from the mean. Empty for other tasks."""
    teachers: tuple[EmbeddingSource, ...] = ()
    preparation: dict[str, Json] = field(default_factory=dict)
    """How slides were divided into patches and clusters; a prediction does the same."""
    train_config: dict[str, Json] = field(default_factory=dict)
    metrics: dict[str, Json] = field(default_factory=dict)
    localisation: dict[str, Json] | None = None
    """How well the map finds the evidence (score, and what truth it was held against)."""
    student_logit_std: float = 1.0
    branches_logit_std: float = 1.0
    """Standard deviations on the training slides, both over one factor that makes the softmax of
    the sum as sure as unseen slides bear out: divided by them, logits may be added."""
    operating_point: OperatingPoint | None = None
    """Where a probability becomes a call; None where too few patients could tell, or no classes."""
    median_risk: float | None = None
    """Survival: median log-hazard of the patients that were learned from, which parts low risk from
    high; None in other tasks and in checkpoints of earlier versions."""
    learned_risks: LearnedRisks | None = None
    """Survival: log-hazards of those patients; None as `median_risk` is."""
    likeness_axes: tuple[int, ...] = ()
    """Axes of each encoder along which slides are compared with those that were learned from (see
    `Likeness`); empty where they are not."""
    seed: int = 0
    versions: dict[str, Json] = field(default_factory=dict)
    created: str = ""
    """ISO 8601, UTC."""

    def __post_init__(self) -> None:
        """Check that the parts fit one another."""
        _check_targets(self)
        for what, sources in (("encoders", self.encoders), ("teachers", self.teachers)):
            names = [source.name for source in sources]
            if len(names) > _MAX_SOURCES or len(set(names)) < len(names):
                raise CheckpointError(f"The checkpoint's {what} are too many or named twice.")
        dims = sum(source.dim for source in self.encoders)
        if dims != self.student.input_dim:
            raise CheckpointError(
                f"The checkpoint's student reads {self.student.input_dim} numbers a patch, "
                f"but its encoders give {dims}."
            )
        if len(self.classes) != self.student.n_outputs:
            raise CheckpointError(
                f"The checkpoint names {len(self.classes)} outputs, "
                f"but its student has {self.student.n_outputs}."
            )
        for text in (self.target_name, self.created, *self.classes, *self.target_columns):
            _text("a name", text)
        if len(set(self.classes)) < len(self.classes) or "" in self.classes:
            raise CheckpointError("The checkpoint's outputs have no names, or share one.")
        for what, number in (
            ("student_logit_std", self.student_logit_std),
            ("branches_logit_std", self.branches_logit_std),
        ):
            _number(what, number, low=1e-12, high=1e12)
        self._check_likeness()
        _number("seed", self.seed, low=0, high=2**63 - 1, whole=True)
        for what, values in (
            ("preparation", self.preparation),
            ("train_config", self.train_config),
            ("metrics", self.metrics),
            ("versions", self.versions),
            ("localisation", self.localisation or {}),
        ):
            _named(what, values)

    def _check_likeness(self) -> None:
        if len(self.likeness_axes) not in {0, len(self.encoders)}:
            raise CheckpointError("The checkpoint's axes of likeness are not of its encoders.")
        for source, count in zip(self.encoders, self.likeness_axes, strict=False):
            high = min(source.dim, _MOST_AXES)
            _number(f"the axes of {source.name}", count, low=1, high=high, whole=True)

    @property
    def target(self) -> Target:
        """Which columns of the labels table were learned, and how they are read."""
        return Target(self.target_columns or (self.target_name,), self.student.task, self.per)

    @property
    def target_scale(self) -> TargetScale:
        """How outputs of the model are brought to the unit of the labels table."""
        return TargetScale(mean=self.target_mean, std=self.target_std)

    @property
    def commercial(self) -> bool:
        """Whether the licences of all encoders and teachers say that commercial use is allowed."""
        return all(source.commercial is True for source in (*self.encoders, *self.teachers))

    @property
    def licences(self) -> tuple[str, ...]:
        """The licences that travel with the checkpoint, each once, sorted."""
        return tuple(sorted({source.licence for source in (*self.encoders, *self.teachers)}))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        values: dict[str, Any] = {"format_version": FORMAT_VERSION, "note": RESEARCH_USE}
        for one in fields(self):
            values[one.name] = getattr(self, one.name)
        values["student"] = self.student.to_dict()
        values["encoders"] = [_source_to_dict(source) for source in self.encoders]
        values["teachers"] = [_source_to_dict(source) for source in self.teachers]
        for key in _TUPLES:
            values[key] = list(values[key])
        if self.operating_point is not None:
            values["operating_point"] = self.operating_point.to_dict()
        if self.learned_risks is not None:
            values["learned_risks"] = self.learned_risks.to_dict()
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from JSON values.

        Raises
        ------
        CheckpointError
            If the version is another, a key is unknown or missing, or a value does not fit.
        """
        version = values.get("format_version")
        if version not in _READABLE:
            raise CheckpointError(
                f"The checkpoint has format {version!r}, this program reads "
                f"{' and '.join(map(str, _READABLE))}; update the one that is older."
            )
        given = {key: value for key, value in values.items() if key not in _EXTRA_KEYS}
        _strict(cls, given, what="The checkpoint")
        try:
            given["student"] = StudentConfig.from_dict(_named("student", given["student"]))
        except (ConfigError, TypeError) as error:
            raise CheckpointError(f"The checkpoint's student is impossible: {error}") from error
        for key in ("encoders", "teachers"):
            given[key] = tuple(_source(one) for one in _listed(key, given.get(key, [])))
        for key in _TUPLES:
            given[key] = tuple(_listed(key, given.get(key, [])))
        point = given.get("operating_point")
        if point is not None:
            point = _named("operating_point", point)
            count = len(given["classes"])
            given["operating_point"] = OperatingPoint.from_dict(point, n_classes=count)
        if given.get("learned_risks") is not None:
            risks = _named("learned_risks", given["learned_risks"])
            given["learned_risks"] = LearnedRisks.from_dict(risks)
        return cls(**given)


_TUPLES = ("classes", "target_columns", "target_mean", "target_std", "likeness_axes")
_EXTRA_KEYS = ("format_version", "note")


def checkpoint_meta(folder: Path) -> CheckpointMeta:
    """Read what the checkpoint in `folder` says of itself; loads no weights and no torch.

    Raises
    ------
    CheckpointError
        If there is none, or it is damaged or of another version.
    """
    try:
        return CheckpointMeta.from_dict(read_json(folder / META_NAME))
    except ProjectError as error:
        raise CheckpointError(f"{folder} holds no readable checkpoint: {error}") from error
    except CheckpointError as error:
        raise CheckpointError(f"{folder / META_NAME}: {error}") from error


def _check_targets(meta: CheckpointMeta) -> None:
    """Raise unless scale and columns are those of the task."""
    if meta.per not in get_args(Level):
        raise CheckpointError("The checkpoint does not say whose its labels were.")
    counts = (0, len(meta.classes)) if meta.student.task == "regression" else (0,)
    for what, numbers, low in (
        ("target_mean", meta.target_mean, -1e30),
        ("target_std", meta.target_std, 1e-300),
    ):
        if len(numbers) not in counts:
            raise CheckpointError(f"The checkpoint has {len(numbers)} numbers for {what}.")
        for number in numbers:
            _number(what, number, low=low, high=1e30)
    if meta.operating_point is not None and meta.student.task != "classification":
        raise CheckpointError("The checkpoint has an operating point, but no classes.")
    if meta.median_risk is not None:
        if meta.student.task != "survival":
            raise CheckpointError("The checkpoint has a median risk, but learned no survival.")
        _number("median_risk", meta.median_risk, low=-1e30, high=1e30)
    if meta.learned_risks is not None and meta.median_risk is None:
        raise CheckpointError("The checkpoint has risks of patients, but not their median.")
    if len(meta.target_mean) != len(meta.target_std):
        raise CheckpointError("The checkpoint has no standard deviation for each target's mean.")
    try:
        Target(meta.target_columns or (meta.target_name,), meta.student.task, meta.per)
    except ConfigError as error:
        raise CheckpointError(f"The checkpoint's target is impossible: {error}") from error


def _source(values: Any) -> EmbeddingSource:
    given = _named("an encoder", values)
    _strict(EmbeddingSource, given, what="An encoder of the checkpoint")
    return EmbeddingSource(**given)


def _source_to_dict(source: EmbeddingSource) -> dict[str, Any]:
    return {one.name: getattr(source, one.name) for one in fields(source)}


def _strict(cls: type[Any], given: Mapping[str, Any], *, what: str) -> None:
    known = {one.name for one in fields(cls)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise CheckpointError(f"{what} has the unknown entry {unknown[0]!r}.")
    missing = [name for name in _required(cls) if name not in given]
    if missing:
        raise CheckpointError(f"{what} lacks the entry {missing[0]!r}.")


def _required(cls: type[Any]) -> tuple[str, ...]:
    if cls is EmbeddingSource:
        return ("name", "dim", "licence")
    return ("student", "encoders", "target_name", "classes")


def _text(what: str, value: Any) -> None:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise CheckpointError(f"The checkpoint gives no readable text for {what}.")


def _number(what: str, value: Any, *, low: float, high: float, whole: bool = False) -> None:
    kinds = int if whole else (int, float)
    fits = isinstance(value, kinds) and not isinstance(value, bool)
    if not fits or not low <= value <= high:  # not for NaN either
        raise CheckpointError(
            f"The checkpoint gives {value!r} for {what}; it must lie from {low:g} to {high:g}."
        )


def _named(what: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CheckpointError(f"The checkpoint gives no named values for {what}.")
    return value


def _listed(what: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise CheckpointError(f"The checkpoint gives no list of {what}.")
    return value
