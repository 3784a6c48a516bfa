"""What fine-tuning would learn from, told before anybody asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from src_core.errors import ProjectError
from src_core.gathering import Bags, Gathering
from src_core.models.checkpoint_meta import CheckpointMeta
from src_core.pipeline import Failure, each_slide
from src_core.progress import Stop, never
from src_core.project import Project
from src_core.provenance import read_json
from src_core.training.marked import require_teachable

__all__ = ["Outlook", "review_outlook"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What fine-tuning would learn from, told before it starts."""

    counts: Mapping[str, Mapping[str, int]]
    """Of each marked slide the patches by label."""
    corrected: tuple[str, ...]
    """Slides with a corrected label."""
    failures: tuple[Failure, ...]
    """Slides whose marks are not learned from, and why."""


def review_outlook(
    project: Project,
    run_id: str,
    meta: CheckpointMeta,
    *,
    bags: Bags | None = None,
    stop: Stop = never,
) -> Outlook:
    """Tell what a run's model would learn from, or why it cannot, without reading an embedding.

    What is raised here `gather_review` would raise too; it may find more in what was embedded.

    Parameters
    ----------
    project : Project
    run_id : str
    meta : CheckpointMeta
        Of the run's model.
    bags : dict, optional
        Empty at first, and the same one whenever this run is asked about: what is in it, and is as
        it was, is not read again.
    stop : callable
        See :mod:`src_core.progress`.

    Raises
    ------
    CheckpointError
        If the model cannot learn from marks.
    ProjectError
        If a mark is of no class that the model knows, or nothing (new) is there to learn from.
    """
    require_teachable(meta)
    asked = read_json(project.run(run_id) / "config.json")
    gathering = Gathering(project, meta, asked, bags={} if bags is None else bags)
    marked = [slide for slide in project.slides() if slide.marks.path.is_file()]
    marked = [slide for slide in marked if slide.marks.current()]
    gathering.understand(marked)
    gathering.failures += each_slide(marked, gathering.look, stop=stop)
    joining = gathering.join(gathering.teachable.glance)
    corrected = [*gathering.corrected(), *joining]
    if not gathering.counts and not corrected:
        raise gathering.nothing(named=False)
    if not joining and gathering.is_known():
        raise ProjectError(f"{run_id} has learned from all of these marks already; mark more.")
    return Outlook(
        counts=gathering.counts,
        corrected=tuple(corrected),
        failures=tuple(gathering.failures),
    )
