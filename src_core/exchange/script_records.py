"""What a project's files say of how it came to be, for a script that repeats it."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from src_core.bags.label_table import LabelRow
from src_core.bags.targets import Target
from src_core.cohorts import names_in
from src_core.config import Config
from src_core.devices import DeviceName
from src_core.embeddings.store import EmbeddingStore
from src_core.errors import ConfigError, FusecpathError, ProjectError
from src_core.models.checkpoint_meta import CheckpointMeta, checkpoint_meta
from src_core.names import quoted_name
from src_core.patches.grid import IMPORTED
from src_core.project import Project, ProjectConfig, SlideFolder
from src_core.provenance import read_json
from src_core.tuned_runs import CANDIDATE

__all__ = [
    "Run",
    "changed_settings",
    "device_of",
    "has_no_patches",
    "imports_of",
    "is_by_hand",
    "runs_in_order",
    "table_of",
    "when",
]


@dataclass(frozen=True, slots=True)
class Run:
    """What is stored of a training, or of a fine-tuning."""

    run_id: str
    asked: Mapping[str, Any]
    """Its ``config.json``."""
    meta: CheckpointMeta
    folder: Path

    @property
    def parent(self) -> str | None:
        """The run that it was fine-tuned from; None if it was trained from the start."""
        parent = self.asked.get("parent")
        return parent if isinstance(parent, str) else None

    @property
    def repeats(self) -> str | None:
        """The run that it repeats; None if it is none's repetition."""
        repeats = self.asked.get("repeats")
        return repeats if isinstance(repeats, str) else None

    @property
    def target(self) -> Target:
        """What it learned."""
        columns = self.names("columns") or [str(self.asked.get("target", "label"))]
        return Target(tuple(columns), self.meta.student.task, self.meta.per)

    @property
    def time(self) -> str:
        """When it was made, UTC, ISO 8601 with milliseconds, as the acts of reviewers have it."""
        return _moment(self.folder / "config.json").isoformat(timespec="milliseconds")

    @property
    def device(self) -> str:
        """What it was computed on; "" if it has not noted that."""
        device = self.asked.get("device")
        return str(device) if device in get_args(DeviceName) else ""

    @property
    def threads(self) -> int | None:
        """Of the CPU that it was computed with; None if it has not noted that."""
        threads = self.asked.get("threads")
        return threads if type(threads) is int and threads > 0 else None

    @property
    def until_epoch(self) -> int | None:
        """The epoch after which it was ended; None if it went on to its own end."""
        until = self.asked.get("until_epoch")
        return until if type(until) is int and until > 0 else None

    @property
    def config(self) -> ProjectConfig:
        """The project's settings of then."""
        try:
            return ProjectConfig.from_dict(self.asked.get("project", {}))
        except ConfigError as error:
            raise ProjectError(f"The settings of {self.run_id} are damaged: {error}") from error

    def names(self, key: str) -> list[str]:
        """Return slides that it names: ``trained_on`` or ``held_back``."""
        return names_in(self.asked.get(key))


def runs_in_order(project: Project) -> list[Run]:
    """Return the runs as they were made, those that wait for a decision last."""
    names = sorted(project.runs(), key=lambda name: (name.startswith(CANDIDATE), name))
    return [
        Run(name, read_json(folder / "config.json"), checkpoint_meta(folder / "checkpoint"), folder)
        for name in names
        if (folder := project.run(name)).is_dir()
    ]


def when(paths: Iterable[Path]) -> str:
    """Return when the newest of some files was written, to the minute, in words."""
    moments = [_moment(path) for path in paths if path.is_file()]
    return f"{max(moments):%Y-%m-%d %H:%M} UTC" if moments else "at a time that is not on record"


def _moment(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def is_by_hand(slide: SlideFolder) -> bool:
    """Tell whether a person made a slide's tissue, or drew a region of interest on it."""
    record = slide.record
    is_painted = record.tissue_id is not None and slide.load_tissue().is_by_hand
    return record.roi_id is not None or is_painted


def imports_of(slide: SlideFolder) -> list[tuple[str | None, Mapping[str, Any]]]:
    """Return what another program made of a slide's patches: encoder, and file and program.

    Patches that came without embeddings, whose file is not on record, are told with no encoder.
    """
    grid = slide.load_grid()
    store = EmbeddingStore(slide.embeddings(grid.lattice_id))
    found: list[tuple[str | None, Mapping[str, Any]]] = []
    for encoder in store.encoders():
        if "imported" in store.recipe(encoder):
            told = store.folder / quoted_name(encoder, what="an encoder") / "imported.json"
            found.append((encoder, read_json(told) if told.is_file() else {}))
    if grid.tissue_id == IMPORTED and not found:
        found.append((None, {}))
    return found


def device_of(
    slides: Sequence[SlideFolder], encoders: Sequence[str], runs: Iterable[Run]
) -> str | None:
    """Return the one device that has embedded slides; None if there were several.

    Of encoders that need none nothing is noted; then it is the one device that has trained.
    """
    devices = set[str]()
    for slide in slides:
        store = EmbeddingStore(slide.embeddings(slide.load_grid().lattice_id))
        for encoder in encoders:
            devices.update(way.rpartition(" ")[2] for way in store.computed(encoder))
    devices = devices or {run.device for run in runs if run.device}
    return devices.pop() if len(devices) == 1 and devices <= set(get_args(DeviceName)) else None


def changed_settings(before: Config, after: Config, *, within: str = "") -> list[str]:
    """Return what leads from some settings to others, as ``prepare --set`` takes it."""
    changed = []
    for spec in before.fields():
        old, new, name = getattr(before, spec.name), getattr(after, spec.name), within + spec.name
        if isinstance(new, Config):
            changed += changed_settings(old, new, within=f"{name}.")
        elif new != old:
            changed.append(f"{name}={_typed(new)}")
    return changed


def _typed(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def table_of(
    project: Project, rows: Sequence[LabelRow], targets: Sequence[str], folder: Path
) -> bytes:
    """Return a table of slides as CSV that is to lie in `folder`.

    A slide inside the project is named relative to the table where the table lies inside too, so
    that a project that is moved as a whole finds it; any other by its whole path.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["slide_id", "path", "patient_id", "mpp", *targets])
    for row in rows:
        record = project.slide(row.slide_id).record
        path = project.root / record.path
        both = path.is_relative_to(project.root) and folder.is_relative_to(project.root)
        shown = Path(os.path.relpath(path, folder)) if both else path
        mpp = "" if record.slide_mpp is None else repr(float(record.slide_mpp))
        labels = [row.labels[name] for name in targets]
        writer.writerow([row.slide_id, shown.as_posix(), row.patient_id, mpp, *labels])
    return text.getvalue().encode()


def has_no_patches(slide: SlideFolder) -> str | None:
    """Return why a slide cannot be worked on, None if it can."""
    try:
        slide.load_grid()
    except FusecpathError as error:
        return str(error)
    return None
