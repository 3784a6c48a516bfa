"""What is left behind when somebody interrupts a job: nothing is the goal.

Each kind of job is begun in a real window, and then cancelled, or its dock or its viewer is closed,
or the slide's layers are deleted, or another slide is opened.
"""

from __future__ import annotations

import gc
import json
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from qtpy.QtWidgets import QDockWidget

from napari_fusecpath.jobs import Job
from tests.benchmarks.gui_window import Window

__all__ = ["WORK", "interrupt_all"]

WORK: dict[str, tuple[str, dict[str, Any]]] = {
    "finding tissue": ("prepare", {"set": ["grid.patch_px=48"], "embed": False}),
    "embedding": ("prepare", {"encoders": ["texture", "lite0"]}),
    "clustering": ("cluster", {"slides": ["large"], "n_clusters": 30}),
    "a sweep": ("cluster", {"slides": ["large"], "sweep": "5:300:1"}),
    "laying out": ("scatter", {"slides": ["large"]}),
    "training": ("train", {}),
    "cross-validation": ("evaluate", {"folds": 2}),
    "predicting": ("predict", {}),
    "explaining": ("explain", {}),
    "fine-tuning": ("finetune", {"epochs": 100}),
}
"""By what is told of it, a job that takes a while."""
_PATIENCE = 20.0
"""Seconds for what an act has to end; a job whose viewer was closed is over with its process."""


def interrupt_all(root: Path) -> bool:
    """Print what is left of each job after each act; True if it is nothing.

    Parameters
    ----------
    root : Path
        A project of which slides are clustered, a run is trained, and patches are marked; it is
        copied for each case.
    """
    print("\n| while | the act | the job ended after | left |")
    print("|---|---|---|---|")
    rng, all_met = np.random.default_rng(0), True
    heard: list[str] = []
    sys.excepthook = lambda kind, error, _trace: heard.append(f"{kind.__name__}: {error}")
    threading.excepthook = lambda told: heard.append(f"in a thread: {told.exc_value}")
    for work in WORK:
        for act in ACTS:
            copy = root.with_name("interrupted")
            shutil.copytree(root, copy)
            seconds, left = _interrupt(copy, work, act, float(rng.uniform(0, 1.5)))
            left += [*heard, *damaged_files(copy)]
            heard.clear()
            shutil.rmtree(copy)
            all_met &= not left
            print(
                f"| {work} | {act} | {seconds:.1f} s | {'; '.join(left) or 'nothing'} |", flush=True
            )
    return all_met


def _interrupt(root: Path, work: str, act: str, after: float) -> tuple[float, list[str]]:
    """Return the seconds until the job had ended, and what was left when the viewer was closed."""
    window, before = Window(), {one.ident for one in threading.enumerate()}
    window.open(root)
    verb, options = WORK[work]
    job = window.begin(verb, {"project": str(root), **options})
    window.rest(after)
    began = time.monotonic()
    ACTS[act](window, job)
    me = psutil.Process()
    window.wait(lambda: job.ended or not me.children(), _PATIENCE)
    seconds = time.monotonic() - began
    window.close()
    window.wait(lambda: not me.children(), _PATIENCE)
    gc.collect()
    left = [f"process {one.pid}" for one in me.children(recursive=True)]
    threads = [one for one in threading.enumerate() if one.ident not in before]
    return seconds, [*left, *(f"thread {one.name}" for one in threads if not one.daemon)]


def _close_dock(window: Window, job: Job) -> None:
    (dock,) = (
        one
        for one in window.viewer.window._qt_window.findChildren(QDockWidget)
        if one.windowTitle().startswith("FuseCPath")
    )
    del window.dock  # nobody else holds it
    dock.destroyOnClose()  # type: ignore[attr-defined]
    window.rest(1)
    job.cancel()  # a job outlives the dock: whoever opens it again sees it at work


def _delete_layers(window: Window, job: Job) -> None:
    window.viewer.layers.clear()
    window.rest(1)
    job.cancel()


def _open_another(window: Window, job: Job) -> None:
    window.viewer.open_sample("napari-fusecpath", "synthetic_slide")
    window.rest(1)
    job.cancel()


ACTS: dict[str, Callable[[Window, Job], object]] = {
    "cancel": lambda _window, job: job.cancel(),
    "closing the dock": _close_dock,
    "closing the viewer": lambda window, _job: window.close(),
    "deleting the layers": _delete_layers,
    "opening another slide": _open_another,
}


def damaged_files(root: Path) -> list[str]:
    """Return the files of a project that are not whole."""
    found = list(root.rglob("*.tmp"))
    for path in root.rglob("*.json"):
        try:
            json.loads(path.read_bytes())
        except ValueError:
            found.append(path)
    for path in root.rglob("*.npy"):
        try:
            np.load(path, mmap_mode="r")
        except (ValueError, EOFError):
            found.append(path)
    return [str(path.relative_to(root)) for path in found]
