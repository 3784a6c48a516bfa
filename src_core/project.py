"""A project: the folder in which everything about a set of slides lies.

:class:`Project` and :class:`SlideFolder` know where each artifact belongs and nothing of how it
is made. Every name that becomes part of a path is checked here, so a project that comes from a
stranger cannot point outside its own folder; only slides may lie elsewhere, and their paths
are opened as slides and nothing else.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from src_core.bags.label_edits import table_text
from src_core.bags.label_table import LabelRow, LabelTable, labels_from, read_labels
from src_core.config import merged
from src_core.errors import ProjectError, SlideReadError
from src_core.locking import locked
from src_core.names import checked_name
from src_core.project_config import ProjectConfig
from src_core.provenance import (
    folders_with,
    read_config,
    read_json,
    write_bytes,
    write_json,
)
from src_core.slide_folder import SlideFolder, SlideRecord
from src_core.slides import open_slide
from src_core.slides.identity import slide_fingerprint

__all__ = ["Project", "ProjectConfig", "SlideFolder", "SlideRecord"]

FORMAT = 1

_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Project:
    """A project folder; make one with `create` or `open`."""

    root: Path
    config: ProjectConfig

    @classmethod
    def create(cls, root: str | Path, config: ProjectConfig | None = None) -> Project:
        """Open the project at `root`, or make one there.

        Parameters
        ----------
        root : path
            An existing project, an empty folder or a name that is free.
        config : ProjectConfig, optional
            For a new project its choices; for an existing one its new choices.

        Raises
        ------
        ProjectError
            If `root` is a file, or a folder with other things in it.
        """
        root = Path(root).absolute()
        if (root / "project.json").is_file():
            project = cls.open(root)
            return project if config is None else project.reconfigured(config)
        if _is_taken(root):
            raise ProjectError(f"{root} is neither a project nor an empty folder; name another.")
        project = cls(root, config or ProjectConfig())
        with locked(root):
            is_first = not (root / "project.json").is_file()
            if is_first:
                project.write()
        # Another run has made it meanwhile: what was chosen here is added to its choices.
        return project if is_first else _with(cls(root, ProjectConfig()), project.config)

    @classmethod
    def open(cls, root: str | Path) -> Project:
        """Open an existing project.

        Raises
        ------
        ProjectError
            If there is none, or it is damaged or from a newer version.
        """
        root = Path(root).absolute()
        if not (root / "project.json").is_file():
            raise ProjectError(f"{root} is not a project (it has no project.json).")
        path = root / "project.json"
        if read_json(path).get("format") != FORMAT:
            raise ProjectError(f"{path} is from another version; update napari-fusecpath.")
        return cls(root, read_config(path, ProjectConfig, without=("format",)))

    def reconfigured(self, config: ProjectConfig) -> Project:
        """Return the project with other choices, stored; what others changed meanwhile stays.

        Raises
        ------
        ConfigError
            If the choices contradict what others have chosen meanwhile.
        """
        return self if config == self.config else _with(self, config)

    def write(self) -> None:
        """Store the choices in ``project.json``."""
        write_json(self.root / "project.json", {"format": FORMAT, **self.config.to_dict()})

    def slide(self, slide_id: str) -> SlideFolder:
        """Return the folder of a slide, known or not yet."""
        return SlideFolder(self.root, checked_name(slide_id, what="slide"))

    def slides(self) -> tuple[SlideFolder, ...]:
        """Return the slides of the project in the order of their names."""
        return tuple(SlideFolder(self.root, name) for name in self.slide_ids())

    def slide_ids(self) -> tuple[str, ...]:
        """Return the names of the slides of the project, sorted; fast for thousands."""
        names = folders_with(self.root / "slides", "slide.json")
        return tuple(checked_name(name, what="slide") for name in names)

    def first_slide_id(self) -> str | None:
        """Return the first slide that is where it was, else the very first; None without slides."""
        names = self.slide_ids()
        # Not all of an archive that has moved: a server that is away may take seconds for each.
        there = (name for name in names[:20] if self.slide(name).is_there)
        return next(there, names[0] if names else None)

    def fingerprints(self) -> dict[str, str]:
        """Return the fingerprint of every slide by its name."""
        return {folder.slide_id: folder.record.fingerprint for folder in self.slides()}

    def slide_at(self, path: Path) -> SlideFolder | None:
        """Return the slide that is the file at `path`, None if the project knows none there."""
        path = path.absolute()
        for slide in self.slides():
            if not _is_named(slide.root / "slide.json", path.name):
                continue  # of a thousand records, few have to be understood
            if (self.root / slide.record.path).absolute() == path:
                return slide
        return None

    def add_slide(
        self,
        path: str | Path,
        *,
        slide_id: str | None = None,
        slide_mpp: float | Literal["auto"] | None = None,
        known: dict[str, str] | None = None,
    ) -> SlideFolder:
        """Take a slide into the project; one that it knows already keeps its name and work.

        A slide that is as the project knows it is not opened.

        Parameters
        ----------
        path : path
            File or folder that `open_slide` can open.
        slide_id : str, optional
            Its name in the project; by default made from the file's name.
        slide_mpp : float or "auto", optional
            Micrometres per level-0 pixel, instead of what the file says; ``"auto"`` forgets what
            was given before.
        known : dict, optional
            What `fingerprints` gave, kept up to date here: who adds many slides asks once.
        """
        path = Path(path).absolute()
        if not path.exists():
            raise SlideReadError(f"{path} does not exist; check the path.")
        fingerprint = slide_fingerprint(path)
        known = self.fingerprints() if known is None else known
        with locked(self.root):
            return self._taken(path, fingerprint, slide_id, slide_mpp, known)

    def _taken(
        self,
        path: Path,
        fingerprint: str,
        slide_id: str | None,
        slide_mpp: float | Literal["auto"] | None,
        known: dict[str, str],
    ) -> SlideFolder:
        folder = self._folder_for(path, fingerprint, slide_id, known)
        stored = folder.record if (folder.root / "slide.json").is_file() else None
        before = None if stored is None or slide_mpp == "auto" else stored.slide_mpp
        mpp = slide_mpp if isinstance(slide_mpp, float | int) else before
        given = (self.stored_path(path), fingerprint, mpp)
        if stored is None or given != (stored.path, stored.fingerprint, stored.slide_mpp):
            record = self._new_record(folder, path, fingerprint, mpp, stored)
            write_json(folder.root / "slide.json", record.to_dict())
        known[folder.slide_id] = fingerprint
        return folder

    def _new_record(
        self,
        folder: SlideFolder,
        path: Path,
        fingerprint: str,
        slide_mpp: float | None,
        stored: SlideRecord | None,
    ) -> SlideRecord:
        """Open a slide and describe it, keeping what still holds of what is stored."""
        reader = open_slide(path, slide_mpp=slide_mpp)
        try:
            properties = reader.properties
        finally:
            reader.close()
        record = SlideRecord(
            slide_id=folder.slide_id,
            path=self.stored_path(path),
            fingerprint=fingerprint,
            slide_mpp=slide_mpp,
            mpp=properties.mpp,
            mpp_source=properties.mpp_source,
        )
        if stored is not None:
            # A mask lies in level-0 pixels and outlives a new scale; patches do not.
            record = record.replace(tissue_id=stored.tissue_id, roi_id=stored.roi_id)
        if stored is not None and stored.mpp == record.mpp:
            kept = ("grid_id", "grid_recipe", "candidates_id", "clusters_id", "joint_id")
            record = record.replace(**{key: getattr(stored, key) for key in kept})
        return record

    def _folder_for(
        self, path: Path, fingerprint: str, slide_id: str | None, known: dict[str, str]
    ) -> SlideFolder:
        wanted = checked_name(
            slide_id or _NOT_IN_NAME.sub("_", path.stem).strip(".")[:100] or "slide", what="slide"
        )
        if known.get(wanted) == fingerprint:
            return self.slide(wanted)
        if slide_id is None:
            same = next((name for name, other in known.items() if other == fingerprint), None)
            if same is not None:
                return self.slide(same)
        name, number = wanted, 2
        while self._fingerprint_of(name, known) not in (None, fingerprint):
            if slide_id is not None:
                raise ProjectError(
                    f"Another file is slide {name!r} of {self.root}; give {path} another slide_id, "
                    f"or let prepare forget {name}, which lays the old one aside."
                )
            name, number = f"{wanted}-{number}", number + 1
        return self.slide(name)

    def _fingerprint_of(self, name: str, known: dict[str, str]) -> str | None:
        """Return a slide's fingerprint, None if there is no such slide; others may add some."""
        if name not in known and (self.slide(name).root / "slide.json").is_file():
            known[name] = self.slide(name).record.fingerprint
        return known.get(name)

    def stored_path(self, path: Path) -> str:
        """Return how the project writes where a slide lies: relative if that is inside it."""
        inside = path.is_relative_to(self.root)
        return (path.relative_to(self.root) if inside else path).as_posix()

    @property
    def labels_path(self) -> Path:
        """``cohort/labels.csv``."""
        return self.root / "cohort" / "labels.csv"

    @property
    def labels_before_path(self) -> Path:
        """``cohort/labels-before.csv``: the table that was there until another was taken in."""
        return self.labels_path.with_name("labels-before.csv")

    @property
    def splits_path(self) -> Path:
        """``cohort/splits.json``."""
        return self.root / "cohort" / "splits.json"

    def labels(self) -> LabelTable:
        """Read the labels table.

        Raises
        ------
        ProjectError
            If the project has none, or it is damaged.
        """
        if not self.labels_path.is_file():
            raise ProjectError(f"{self.root} has no labels; give a labels table (CSV).")
        return read_labels(self.labels_path)

    def patients(self) -> dict[str, str]:
        """Return whose slide each one of the labels table is; empty without a table."""
        if not self.labels_path.is_file():
            return {}
        return {row.slide_id: row.patient_id for row in self.labels().rows}

    def import_labels(self, path: Path, *, slides: Path | None = None) -> tuple[LabelRow, ...]:
        """Take a labels table into the project and return its rows.

        The table that it replaces is kept beside it, to be taken in again.

        Parameters
        ----------
        path : Path
            The table (CSV).
        slides : Path, optional
            Where the slides lie, if not where the table says relative to itself.

        Raises
        ------
        ProjectError
            If the table is damaged; the project keeps the one it had.
        """
        table = read_labels(path.absolute())
        rows = table.rows
        if slides is not None:
            rows = _found_in(slides.absolute(), table)
        before = self.labels_path.read_bytes() if self.labels_path.is_file() else None
        self.write_labels(table.targets, rows)
        if before is not None and before != self.labels_path.read_bytes():
            write_bytes(self.labels_before_path, before)
        return rows

    def write_labels(self, targets: Sequence[str], rows: Sequence[LabelRow]) -> None:
        """Store other slides and labels in ``cohort/labels.csv``.

        Raises
        ------
        ProjectError
            If they could not be read again; the project keeps the table it had.
        """
        text = table_text(targets, rows, place=self._path_from_table)
        labels_from(self.labels_path, text)
        write_bytes(self.labels_path, text.encode())

    def _path_from_table(self, path: Path) -> str:
        if not path.is_relative_to(self.root):
            return path.as_posix()
        return Path(os.path.relpath(path, self.labels_path.parent)).as_posix()

    def run(self, run_id: str) -> Path:
        """Folder of one training run."""
        return self.root / "runs" / checked_name(run_id, what="run")

    def runs(self) -> tuple[str, ...]:
        """Return the finished runs, oldest first."""
        found = (self.root / "runs").glob("*/checkpoint/checkpoint.json")
        names = (path.parent.parent.name for path in found)
        return tuple(sorted(name for name in names if not name.startswith(".")))

    def latest_run(self) -> str:
        """Return the newest finished run, or raise `ProjectError`."""
        runs = self.runs()
        if not runs:
            raise ProjectError(f"{self.root} has no trained model; run Train first.")
        return runs[-1]

    def prediction(self, run_id: str, slide_id: str) -> Path:
        """Folder of one slide's prediction by one run."""
        slide = checked_name(slide_id, what="slide")
        return self.root / "predictions" / checked_name(run_id, what="run") / slide


def _with(project: Project, config: ProjectConfig) -> Project:
    """Store what differs between a project's choices and other ones, over what is stored now."""
    with locked(project.root):
        stored, before = Project.open(project.root).config.to_dict(), project.config.to_dict()
        choices = merged(stored, before, config.to_dict())
        changed = Project(project.root, ProjectConfig.from_dict(choices))
        changed.write()
    return changed


def _is_named(file: Path, name: str) -> bool:
    """Tell whether a name occurs in a file of JSON, however that writes it."""
    content = file.read_bytes()
    return name.encode() in content or json.dumps(name)[1:-1].encode() in content


def _is_taken(root: Path) -> bool:
    """Tell whether something else than a project, whole or about to be, is at `root`."""
    if not root.is_dir():
        return root.exists()
    others = [one for one in root.iterdir() if not one.name.startswith((".lock", ".project.json."))]
    # Asked last: another run that makes a project writes this file before everything else.
    return bool(others) and not (root / "project.json").is_file()


def _found_in(folder: Path, table: LabelTable) -> tuple[LabelRow, ...]:
    """Return the table's rows with their slides in `folder`: as written there, or by file name."""
    rows = []
    for row in table.rows:
        inside = row.path.is_relative_to(table.source.parent)
        written = row.path.relative_to(table.source.parent) if inside else Path(row.path.name)
        path = folder / written
        rows.append(replace(row, path=path if path.exists() else folder / row.path.name))
    for path, count in Counter(row.path for row in rows).items():
        if count > 1:
            raise ProjectError(f"{table.source} has {count} slides that would all be {path}.")
    return tuple(rows)
