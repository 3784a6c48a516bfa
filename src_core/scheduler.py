"""Work on the machines of a dask.distributed cluster: slides are prepared, one task a slide.

Every machine sees the project's folder and the slides under the same paths, and has this program.
Results land in the project as they do without a scheduler, so a cluster may lose workers: what was
embedded is kept, and dask starts the task elsewhere. Should the lost worker live on, the slide's
store lets one of the two write at a time, and the other finds the work done.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from src_core.devices import DeviceName, is_out_of_memory, spin_briefly
from src_core.embedder import Embedder
from src_core.errors import (
    ConfigError,
    FusecpathError,
    JobCancelled,
    ProjectError,
    StorageFullError,
)
from src_core.open_files import allow_many_files
from src_core.pipeline import Failure
from src_core.preparing import Wishes, prepare_grid
from src_core.progress import Report, Stop, Tracker, check, ignore
from src_core.project import Project, ProjectConfig
from src_core.worker_versions import require_same_versions

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = [
    "as_tasks_end",
    "computing_alone",
    "prepare_on_cluster",
    "prepare_slide",
    "task_result",
]

_CONNECT_SECONDS = 20
_POLL_SECONDS = 0.5
_ASK_SECONDS = 1.0
"""How often a task asks the scheduler whether it is still wanted."""

_ONE_AT_A_TIME = threading.Lock()

_LOST = "The scheduler has lost its tasks; run this again: what is stored is kept."

_NO_MEMORY = (
    "The worker that prepared it ran out of memory, and what was stored is kept; run this again "
    "with fewer workers on a machine, or with smaller encoders"
)


def prepare_on_cluster(
    address: str,
    project: Project,
    slides: Mapping[str, Wishes],
    *,
    embed: bool,
    device: DeviceName,
    report: Report,
    stop: Stop,
    notes: dict[str, str],
) -> list[Failure]:
    """Find tissue and patches of slides, and embed them, on a cluster.

    Parameters
    ----------
    address : str
        Of the scheduler, such as ``tcp://host:8786``.
    project : Project
        In a folder that every worker sees under the same path.
    slides : mapping of str to Wishes
        Names of slides, one task each, and what a person brings; files that every worker sees.
    embed : bool
        Whether to embed the patches, or only to find them.
    device : DeviceName
        Where a worker computes.
    report, stop : callable
        See :mod:`src_core.progress`; a stop cancels what waits and stops what runs.
    notes : dict
        Takes, by slide, what else there is to say.

    Returns
    -------
    list of Failure
        What could not be done.

    Raises
    ------
    ConfigError
        If the package ``distributed`` is missing or no scheduler answers.
    ProjectError
        If the scheduler is lost on the way.
    StorageFullError
        If the disk is full.
    JobCancelled
        If `stop` says so.
    """
    failures: list[Failure] = []
    root = str(project.root)
    tasks = {name: (root, name, wishes, embed, device) for name, wishes in slides.items()}
    tracker = Tracker(report, stop, stage="Preparing slides", total=len(tasks), unit="slides")
    ended = as_tasks_end(address, prepare_slide, tasks, kind="prepare", stop=stop)
    with closing(ended):
        for slide_id, future in ended:
            told, note = _outcome(future)
            notes |= {slide_id: note} if note else {}
            failures += [Failure(slide_id=slide_id, message=one) for one in told]
            tracker.advance(1, detail=slide_id)
    return failures


def as_tasks_end(
    address: str,
    work: Callable[..., object],
    tasks: Mapping[str, tuple[Any, ...]],
    *,
    kind: str,
    stop: Stop,
) -> Generator[tuple[str, Future[Any]]]:
    """Let a cluster do `work` for every task; yield the name and the future of each that ends.

    Parameters
    ----------
    address : str
        Of the scheduler.
    work : callable
        What a worker calls, with the task's arguments and the name of an event that is set when
        the task is not wanted any more.
    tasks : mapping of str to tuple
        Arguments, by name.
    kind : str
        Begins the tasks' keys, which dask's own pages show.
    stop : callable
        A true answer withdraws the tasks that have not ended, as closing the generator does.

    Raises
    ------
    ConfigError
        If the package ``distributed`` is missing, no scheduler answers, or a worker has other
        versions than this machine.
    ProjectError
        If the scheduler is lost on the way.
    JobCancelled
        If `stop` says so.
    """
    with _connected(address) as client, _withdrawn_on_error(client) as (wanted, futures):
        require_same_versions(client)
        for name, task in tasks.items():
            key = f"{kind}-{name}-{wanted}"
            futures[client.submit(work, *task, wanted, key=key, pure=False)] = name
        for future in _as_they_end(client, futures, stop):
            yield futures[future], future


def task_result(future: Future[Any], *, name: str) -> Any:
    """Return what a task has returned, or raise what it has raised.

    Raises
    ------
    ProjectError
        If its workers died, or ran out of memory, or the scheduler has lost it.
    """
    from distributed import KilledWorker

    if future.status == "finished":
        return future.result()
    if future.status == "cancelled":
        raise ProjectError(_LOST)
    error = future.exception()
    if isinstance(error, KilledWorker):
        raise ProjectError(
            f"The workers that worked on {name} died, out of memory perhaps; look at their logs."
        ) from error
    if is_out_of_memory(error):
        raise ProjectError(
            f"The worker that worked on {name} ran out of memory; run this again with fewer "
            "workers on a machine: what is stored is kept."
        ) from error
    if isinstance(error, JobCancelled):  # nobody here has cancelled it
        raise ProjectError(
            f"The worker that worked on {name} lost its scheduler for a while; run this again: "
            "what is stored is kept."
        ) from error
    raise error


@contextmanager
def computing_alone(wanted: str) -> Iterator[Stop]:
    """Let one task at a time compute in a worker's process; yield what stops it.

    Threads and generators of torch are the process's: two tasks would change each other's.

    Parameters
    ----------
    wanted : str
        Name of the event that is set when the task is not wanted any more.
    """
    spin_briefly()  # other workers may share the cores
    allow_many_files()
    stop = _Withdrawn(wanted)
    with _ONE_AT_A_TIME:
        check(stop)
        yield stop


def prepare_slide(
    root: str, slide_id: str, wishes: Wishes, embed: bool, device: DeviceName, wanted: str
) -> tuple[list[str], str]:
    """Prepare one slide in a worker's thread: what a task does.

    Parameters
    ----------
    root : str
        Folder of the project.
    slide_id : str
    wishes : Wishes
    embed : bool
    device : DeviceName
    wanted : str
        Name of the event that is set when the task is not wanted any more.

    Returns
    -------
    list of str
        What could not be done, a sentence each.
    str
        What else there is to say.
    """
    stop = _Withdrawn(wanted)
    try:
        project = Project.open(root)
        slide = project.slide(slide_id)
        prepare_grid(project, slide, wishes, report=ignore, stop=stop)
        if not embed:
            return [], ""
        with _embedder(project.config, device, wanted) as embedder:
            told = embedder.embed_patches(slide, report=ignore, stop=stop)
            told += [str(error) for error in embedder.teach(slide, report=ignore, stop=stop)]
            return told, embedder.sentences().get(slide_id, "")
    except StorageFullError:
        raise
    except FusecpathError as error:
        return [str(error)], ""


class _Withdrawn:
    """Asks the scheduler, now and then, whether a task shall stop."""

    def __init__(self, name: str) -> None:
        from distributed import Event

        self._event = Event(name)
        self._asked = time.monotonic()
        self._answer = False

    def __call__(self) -> bool:
        """Return whether it shall; also where the cluster is gone."""
        if not self._answer and time.monotonic() - self._asked >= _ASK_SECONDS:
            self._asked = time.monotonic()
            try:
                self._answer = self._event.is_set()
            except (OSError, TimeoutError, RuntimeError, ValueError):
                self._answer = True  # the cluster is gone, and nobody waits for this
        return self._answer


@contextmanager
def _embedder(config: ProjectConfig, device: DeviceName, wanted: str) -> Iterator[Embedder]:
    """Hand out the worker's encoders, loaded once a run, to one of its threads at a time."""
    embedder, lock = _loaded(config, device, wanted)
    with lock:
        yield embedder


@lru_cache(maxsize=1)  # another project's encoders take their place
def _loaded(
    config: ProjectConfig, device: DeviceName, wanted: str
) -> tuple[Embedder, threading.Lock]:
    """Make them anew for each run: what was refused may be allowed by now, and is asked for."""
    del wanted
    return Embedder(config, device, remembers_pace=False), threading.Lock()


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError(
            "A scheduler needs the package distributed; pip install 'napari-fusecpath[cluster]'."
        ) from error
    try:
        client = Client(address, timeout=_CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise ConfigError(
            f"No dask scheduler answers at {address!r}; start one with 'dask scheduler', and "
            "workers with 'dask worker ADDRESS --nthreads 1'."
        ) from error
    try:
        yield client
    finally:
        client.close(timeout=5)


@contextmanager
def _withdrawn_on_error(client: Client) -> Iterator[tuple[str, dict[Future[Any], str]]]:
    """Yield the name of an event and a place for futures; an error sets one, cancels the others."""
    from distributed import Event

    wanted = f"withdrawn-{uuid.uuid4().hex}"
    futures: dict[Future[Any], str] = {}
    try:
        yield wanted, futures
    except BaseException:
        if client.status == "running":
            Event(wanted, client=client).set()
            client.cancel(list(futures), force=True)
        raise


def _as_they_end(
    client: Client, futures: dict[Future[Any], str], stop: Stop
) -> Iterator[Future[Any]]:
    from distributed import wait

    waiting = set(futures)
    while waiting:
        check(stop)
        try:
            ended = wait(waiting, timeout=_POLL_SECONDS, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            ended = set()
        if client.status != "running":
            raise ProjectError(
                "The scheduler is gone; start it and run this again: what is stored is kept."
            )
        waiting -= ended
        yield from ended


def _outcome(future: Future[Any]) -> tuple[list[str], str]:
    from distributed import KilledWorker

    if future.status == "finished":
        told: tuple[list[str], str] = future.result()
        return told
    if future.status == "cancelled":
        raise ProjectError(_LOST)
    error = future.exception()
    if isinstance(error, KilledWorker):
        died = "The workers that prepared it died, out of memory perhaps; look at their logs."
        return [died], ""
    if is_out_of_memory(error):  # of that machine, which another slide, or another one, may not be
        return [f"{_NO_MEMORY} ({type(error).__name__})."], ""
    raise error
