"""Folders of trainings that have begun and not ended: ``runs/.<digest>.unfinished``.

The digest is that of all that decides a training's result, so whoever starts the same training
again finds what an earlier call has left, whether that was killed or cancelled. One process at a
time works in a folder; another that wants the same waits for it. A folder is removed when its
training has ended.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import src_core
from src_core.errors import DivergedError, ProjectError
from src_core.locking import locked
from src_core.progress import Report, Stop
from src_core.provenance import read_json, recipe_id, write_json
from src_core.types import Json

__all__ = ["Unfinished", "unfinished", "versions"]

_BEGUN = "begun.json"
_KEPT = ("state.json", "fold.json")
"""Files that tell of work which a later call need not do again."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A training that goes on, or begins."""

    folder: Path
    training: str
    """Digest of all that decides its result."""
    threads: int
    """Of the CPU: those that it was begun with."""
    notes: tuple[str, ...] = ()


def versions() -> dict[str, Json]:
    """Return what computes: another version, or a CPU of another kind, may round otherwise."""
    import torch

    packages = {name: version(name) for name in ("torch", "numpy", "scipy", "scikit-learn")}
    kernels = torch.backends.cpu.get_cpu_capability()
    python = ".".join(map(str, sys.version_info[:3]))
    program = {"napari-fusecpath": src_core.__version__, "python": python}
    return {**program, **packages, "cpu": kernels}


@contextlib.contextmanager
def unfinished(
    runs: Path,
    training: Mapping[str, Json],
    *,
    threads: int | None = None,
    report: Report,
    stop: Stop,
) -> Iterator[Unfinished]:
    """Open the folder of a training, and remove it when the training has ended.

    It is kept where the training is cancelled, or the disk is full, after its first epoch.

    Parameters
    ----------
    runs : Path
        The folder in which it lies.
    training : mapping
        All that decides the result, as JSON values.
    threads : int, optional
        Of the CPU; by default those of an earlier call, or as many as torch has now.
    report, stop : callable
        See :mod:`src_core.progress`; told and asked while another process trains the same.
    """
    asked = dict(training) if threads is None else {**training, "threads": threads}
    name = recipe_id(asked)
    folder = runs / f".{name}.unfinished"
    ended = False
    try:
        with _locked(folder, report, stop):
            try:
                yield _opened(folder, name, threads)
                ended = True
            except BaseException as error:
                ended = isinstance(error, DivergedError) or not _has_work(folder)
                raise
            finally:
                if ended:
                    shutil.rmtree(folder, ignore_errors=True)
    finally:
        if ended and sys.platform == "win32":  # where a file that is open cannot be removed
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # where nothing has ever been trained
            runs.rmdir()


def _locked(folder: Path, report: Report, stop: Stop) -> AbstractContextManager[object]:
    """Lock the folder; whoever is waited for removes it at the end, so it is made anew then."""
    stack = contextlib.ExitStack()
    while True:
        try:
            stack.enter_context(locked(folder, report=report, stop=stop))
        except ProjectError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
        else:
            return stack


def _opened(folder: Path, name: str, threads: int | None) -> Unfinished:
    import torch

    path = folder / _BEGUN
    now: dict[str, Json] = {"training": name, "versions": versions()}
    notes: tuple[str, ...] = ()
    if path.is_file():
        why, before = _read(path, now)
        if not why:
            return Unfinished(folder, name, before)
        told = f"An unfinished training of the same slides was there, but {why}; it was set aside, "
        notes = (f"{told}and training began anew.",)
    _set_aside(folder)
    count = threads or torch.get_num_threads()
    write_json(path, {**now, "threads": count})
    return Unfinished(folder, name, count, notes)


def _read(path: Path, now: Mapping[str, Json]) -> tuple[str, int]:
    """Return why an earlier call's work is of no use, if so, and its number of threads."""
    try:
        before = read_json(path)
    except ProjectError:
        return "it was damaged", 0
    threads = before.pop("threads", None)
    if not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= 4096:
        return "it was damaged", 0
    return (
        ""
        if before == now
        else "other versions of this program, or of its libraries, had begun it",
        threads,
    )


def _set_aside(folder: Path) -> None:
    place = folder / "set_aside"
    shutil.rmtree(place, ignore_errors=True)
    for path in list(folder.iterdir()):
        if path.name not in (".lock", place.name):
            place.mkdir(exist_ok=True)
            path.rename(place / path.name)


def _has_work(folder: Path) -> bool:
    return any(path.name in _KEPT for path in folder.rglob("*.json"))
