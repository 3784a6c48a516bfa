"""The whole way once: a small cohort from slide files to a figure of its prediction maps.

Without slides of the user's own it draws a synthetic cohort, which shows that everything works
and nothing about pathology.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from src_core import pipeline, preparing, runs
from src_core.config import Config, Help
from src_core.devices import DeviceName
from src_core.encoders.registry import encoder_problem
from src_core.errors import ConfigError
from src_core.held_back import score_held_back
from src_core.progress import Report, Stop
from src_core.project import Project, ProjectConfig, SlideFolder
from src_core.slides.synthetic import write_sample_cohort

__all__ = ["DemoOptions", "describe_demo", "run_demo"]

_SAMPLE = "sample_slides"
_SAMPLE_SLIDES = 16
_SAMPLE_CLUSTERS = 8
_SEED = 2025
_HONESTY = "The slides are synthetic drawings: this shows that the way works, nothing of pathology."


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions(Config):
    """Settings of ``demo``."""

    slides: Annotated[str | None, Help("Folder of your own slides instead of synthetic ones")] = (
        None
    )
    labels: Annotated[
        str | None, Help("Their table (CSV): path, label, and if known patient_id")
    ] = None
    target: Annotated[str, Help("Column of the table to learn")] = "label"
    out: Annotated[str, Help("Project folder to make")] = "fusecpath-demo"
    device: Annotated[DeviceName, Help("Where models compute", advanced=True)] = "auto"
    open: Annotated[bool, Help("Open napari at the end where there is a screen")] = True


def run_demo(options: DemoOptions, report: Report, stop: Stop) -> dict[str, Any]:
    """Prepare, embed, cluster, train, predict the slides held back and draw one of them.

    Raises
    ------
    ConfigError
        If only one of `slides` and `labels` is given.
    SlideReadError
        If a slide of the table is not there.
    ProjectError
        If too few slides of the cohort can be taken the whole way.
    """
    if (options.slides is None) != (options.labels is None):
        raise ConfigError("Your own slides need both: --slides FOLDER and --labels FILE.")
    project = _project(options)
    slides = _take_cohort(project, options)
    ready: list[SlideFolder] = []

    def find(slide: SlideFolder) -> None:
        preparing.prepare_grid(project, slide, report=report, stop=stop)
        ready.append(slide)

    def cluster(slide: SlideFolder) -> None:
        config = project.config
        pipeline.cluster_slide(
            slide, config.encoders, config.clustering, device=device, report=report, stop=stop
        )

    device = options.device
    failures = pipeline.each_slide(slides, find, stop=stop)
    embedded = pipeline.embed_slides(project, ready, device=device, report=report, stop=stop)
    failures += embedded.failures
    failed = {failure.slide_id for failure in failures}
    whole = [slide for slide in ready if slide.slide_id not in failed]
    failures += pipeline.each_slide(whole, cluster, stop=stop)
    run_id, _ = runs.train(project, options.target, device=device, report=report, stop=stop)
    scores = score_held_back(project, run_id, device=device, report=report, stop=stop).scores
    return {
        "project": str(project.root),
        "run": run_id,
        "figures": _draw(project, run_id, scores),
        "own_slides": options.slides is not None,
        **scores,
        "failures": [asdict(failure) for failure in failures],
    }


def _draw(project: Project, run_id: str, scores: dict[str, Any]) -> dict[str, str]:
    """Draw, for each class, the held-back slide that is surest to be of it."""
    probabilities: dict[str, dict[str, float]] = scores["probabilities"]
    figures = {}
    for number, name in enumerate(scores["classes"]):
        surest = [(odds[name], slide_id) for slide_id, odds in probabilities.items()]
        slide_id = max(surest)[1]
        path = project.root / "exports" / f"{run_id}-{number}-{slide_id}.png"
        runs.draw(project, run_id, project.slide(slide_id), path)
        figures[name] = str(path)
    return figures


def describe_demo(result: dict[str, Any]) -> str:
    """Return the demo's result in the words of a terminal."""
    score = f"AUROC {_shown(result['auroc'])} on n = {result['n']} slides held back"
    baseline = f"logistic regression on mean embeddings: {_shown(result['baseline_auroc'])}"
    lines = [
        f"{score} ({baseline})",
        f"project: {result['project']}",
        *(f"figure:  {path} (surest to be {name})" for name, path in result["figures"].items()),
        *(f"FAILED {one['slide_id']}: {one['message']}" for one in result["failures"]),
        "Research use only." if result["own_slides"] else _HONESTY,
    ]
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def _project(options: DemoOptions) -> Project:
    """Make the project, or take the one up that a demo of the same kind has begun."""
    own = options.slides is not None
    config = _config(own=own)
    root = Path(options.out)
    if (root / "project.json").is_file():
        drawn = (root / _SAMPLE).is_dir()
        if Project.open(root).config != config or drawn == own:
            raise ConfigError(f"{root} is another project already; name a new folder with --out.")
    return Project.create(root, config)


def _config(*, own: bool) -> ProjectConfig:
    encoders = [name for name in ("lite0", "lite1", "texture") if encoder_problem(name) is None]
    config = ProjectConfig(encoders=tuple(encoders))
    if own:
        return config
    return config.replace(clustering=config.clustering.replace(n_clusters=_SAMPLE_CLUSTERS))


def _take_cohort(project: Project, options: DemoOptions) -> list[SlideFolder]:
    """Take all slides of the table; one that is not there is a slip to mend before the work."""
    if options.slides is None or options.labels is None:
        table = write_sample_cohort(project.root / _SAMPLE, n_slides=_SAMPLE_SLIDES, seed=_SEED)
        rows = project.import_labels(table)
    else:
        rows = project.import_labels(Path(options.labels), slides=Path(options.slides))
    return [project.add_slide(row.path, slide_id=row.slide_id, slide_mpp=row.mpp) for row in rows]
