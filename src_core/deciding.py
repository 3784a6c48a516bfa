"""What becomes of a fine-tuned model: it is kept as a run, or dropped, each whole or not at all."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from src_core.errors import ProjectError
from src_core.locking import locked
from src_core.names import is_safe_name
from src_core.progress import Report, Stop, ignore, never
from src_core.project import Project
from src_core.provenance import read_json, write_json
from src_core.training_runs import next_run_id
from src_core.tuned_runs import CANDIDATE

__all__ = [
    "Kept",
    "drop_tuned",
    "is_last_of_its_line",
    "keep_candidate",
    "settle_candidates",
    "with_candidate_kept",
    "with_tuned_dropped",
]


class Kept(NamedTuple):
    """A candidate that is a run now."""

    run_id: str
    notes: list[str]
    """Sentences on what was predicted by it and is left out, or waits."""


def keep_candidate(
    project: Project, name: str, *, report: Report = ignore, stop: Stop = never
) -> Kept:
    """Make a candidate a run, with everything that was predicted by it.

    Parameters
    ----------
    project : Project
    name : str
        Of the candidate.
    report, stop : callable, optional
        See :mod:`src_core.progress`; told and asked while a fine-tuning is waited for.

    Raises
    ------
    ProjectError
        If the project has no such candidate, or another program holds its files.
    """
    with locked(project.root / "runs", report=report, stop=stop):
        return with_candidate_kept(project, name)


def drop_tuned(
    project: Project, name: str, *, report: Report = ignore, stop: Stop = never
) -> list[str]:
    """Remove a fine-tuned model, and what was predicted by it; see `keep_candidate`.

    Its marks stay. The number of a run is not given again: what was exported by it names it.

    Returns
    -------
    list of str
        See `settle_candidates`.

    Raises
    ------
    ProjectError
        If it is neither a candidate nor a fine-tuned run from which no other was fine-tuned.
    """
    with locked(project.root / "runs", report=report, stop=stop):
        return with_tuned_dropped(project, name)


def with_candidate_kept(project: Project, name: str) -> Kept:
    """Do what `keep_candidate` does, for a caller that holds the lock of the runs."""
    settle_candidates(project)
    _require(project, name)
    predictions = project.root / "predictions"
    while True:
        run_id = next_run_id(project)
        # Not renamed: Windows does not let go of a folder whose maps somebody looks at.
        staged = predictions / f".{name}.{run_id}.tmp"
        notes = _staged(predictions / name, staged, run_id)
        try:
            project.run(name).rename(project.run(run_id))  # from here on it is kept
        except OSError as error:
            shutil.rmtree(staged, ignore_errors=True)
            if not project.run(run_id).exists():  # else a training has just taken the number
                raise _held(project, name, error) from error
        else:
            return Kept(run_id, [*notes, *settle_candidates(project)])


def with_tuned_dropped(project: Project, name: str) -> list[str]:
    """Do what `drop_tuned` does, for a caller that holds the lock of the runs."""
    settle_candidates(project)
    of_it = project.root / "predictions" / name
    if is_last_of_its_line(project, name):
        of_it.mkdir(parents=True, exist_ok=True)  # keeps the number
    else:
        _require(project, name, or_else=", and no run of that name is the last of a fine-tuning")
    gone = project.root / "runs" / f".{uuid.uuid4().hex}.tmp"
    try:
        project.run(name).rename(gone)  # at once: half a candidate would look like one
    except OSError as error:
        raise _held(project, name, error) from error
    for left in of_it.glob("*"):
        shutil.rmtree(left, ignore_errors=True)
    return settle_candidates(project)


def is_last_of_its_line(project: Project, name: str) -> bool:
    """Tell whether a run was fine-tuned and accepted, and no other was fine-tuned from it.

    Raises
    ------
    ProjectError
        If the files of a run are damaged.
    """
    if name not in project.runs() or name.startswith(CANDIDATE):
        return False
    parents = {one: _parent(project, one) for one in project.runs()}
    return parents[name] is not None and name not in parents.values()


def _parent(project: Project, run_id: str) -> object:
    path = project.run(run_id) / "config.json"
    return read_json(path).get("parent") if path.is_file() else None


def settle_candidates(project: Project) -> list[str]:
    """Finish what a decision has begun, also one that was killed; the lock of the runs is held.

    Predictions of a candidate that has become a run are moved to those of the run; what belongs to
    no candidate any more, or to a decision that came to nothing, is removed. So is half a model,
    which a drop or a fine-tuning that was killed has left: whoever writes one holds the lock.

    Returns
    -------
    list of str
        A sentence on each candidate whose predictions cannot be moved yet: the next call does it.
    """
    runs, predictions = project.root / "runs", project.root / "predictions"
    for half in runs.glob(".*.tmp"):
        shutil.rmtree(half, ignore_errors=True)
    waiting = []
    for staged in sorted(predictions.glob(f".{CANDIDATE}*.tmp")):
        name, _, run_id = staged.name[1 : -len(".tmp")].partition(".")
        is_kept = is_safe_name(run_id) and (runs / run_id).is_dir() and not staged.is_symlink()
        try:
            if is_kept and not (runs / name).exists():
                _moved_in(staged, predictions / run_id)
        except OSError as error:  # Windows: somebody looks at what has just been copied
            waiting.append(
                f"What {run_id} predicted as a candidate waits in {staged} "
                f"({error.strerror or error}); close what reads it: the next decision or "
                "fine-tuning puts it in its place."
            )
        else:
            shutil.rmtree(staged, ignore_errors=True)
    for left in predictions.glob(f"{CANDIDATE}*"):
        if not (runs / left.name).exists():
            shutil.rmtree(left, ignore_errors=True)
    return waiting


def _staged(before: Path, staged: Path, run_id: str) -> list[str]:
    """Copy what a candidate has predicted to where nobody reads, under the name of a run.

    Returns a sentence on each link, and on each file that cannot be read; they are left out.
    """
    if not before.is_dir():
        return []
    links: list[Path] = []

    def linked(folder: str, names: list[str]) -> list[str]:
        """Name the links, which may lead out of the project, where nothing is to be written."""
        found = [path for name in names if (path := Path(folder, name)).is_symlink()]
        links.extend(found)
        return [path.name for path in found]

    try:
        shutil.copytree(before, staged, ignore=linked)
        return [
            *(f"{path} is a link and is left out; predict it again by {run_id}." for path in links),
            *_readdressed(staged, run_id),
        ]
    except OSError as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise ProjectError(
            f"{before} cannot be copied beside itself ({_why(error)}); let what predicts by it "
            "end, make room on the disk, or mend its permissions, and decide again: the candidate "
            "waits as before."
        ) from error


def _readdressed(staged: Path, run_id: str) -> Iterator[str]:
    for path in [*staged.glob("*/prediction.json"), *staged.glob("*/explanation.json")]:
        try:
            values = read_json(path)
        except ProjectError:
            slide_id, is_map = path.parent.name, path.name == "prediction.json"
            path.unlink()  # of a prediction the maps alone are none
            yield (
                f"What was {'predicted' if is_map else 'explained'} of slide {slide_id} cannot be "
                f"read and is left out; {'predict' if is_map else 'explain'} it again by {run_id}."
            )
        else:
            write_json(path, {**values, "run_id": run_id})


def _moved_in(staged: Path, predictions: Path) -> None:
    predictions.mkdir(exist_ok=True)
    for one in sorted(staged.iterdir()):
        if not (predictions / one.name).exists():  # predicted again since
            one.rename(predictions / one.name)


def _why(error: OSError) -> str:
    """Return what an error says; of a folder's the first, for it has one of each file."""
    if isinstance(error, shutil.Error):
        return str(error.args[0][0][-1])
    return error.strerror or str(error)


def _held(project: Project, name: str, error: OSError) -> ProjectError:
    return ProjectError(
        f"{project.run(name)} cannot be moved ({error.strerror or error}); close what reads it, "
        "and decide again."
    )


def _require(project: Project, name: str, *, or_else: str = "") -> None:
    waiting = [run_id for run_id in project.runs() if run_id.startswith(CANDIDATE)]
    if name not in waiting:
        known = ", ".join(waiting) or "none"
        raise ProjectError(f"{project.root} has no candidate {name!r}; it has {known}{or_else}.")
