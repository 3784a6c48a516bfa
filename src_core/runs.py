"""Training runs of a project: learn from its labelled slides, score, predict, show.

A run is a folder with what it was asked, its history, its metrics and its checkpoint. The slides
that a project holds back for the final score are chosen once, by patient, and never trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from src_core.bags.edits import SelectionEdits
from src_core.bags.targets import Target
from src_core.clustering.result import ClusterConfig, load_clusters
from src_core.cohorts import load_cohort, split_cohort
from src_core.devices import DeviceName
from src_core.embeddings.store import EmbeddingView
from src_core.errors import CheckpointError, ConfigError, ProjectError
from src_core.inference.export import prediction_panels, save_figure
from src_core.inference.prediction import Prediction
from src_core.model_origins import require_patches
from src_core.models.checkpoint_meta import checkpoint_meta
from src_core.patches.grid import PatchGrid
from src_core.patches.lattice import Lattice
from src_core.pipeline import (
    Failure,
    made_clusters,
    stored_clusters,
    stored_views,
)
from src_core.progress import Report, Stop
from src_core.project import Project, ProjectConfig, SlideFolder
from src_core.provenance import ConfigT, read_json
from src_core.slides import SlideReader
from src_core.slides.scaled import finer_scale, read_scaled
from src_core.training.config import TrainConfig
from src_core.training_runs import train_run
from src_core.types import Labels

if TYPE_CHECKING:
    from src_core.models.checkpoint import Checkpoint
    from src_core.types import Rgb

__all__ = [
    "Predictor",
    "SlideInputs",
    "draw",
    "draw_prediction",
    "latest_run",
    "metrics",
    "train",
]

_THUMBNAIL_PX = 1024
_MOST_IN_TITLE = 6


def train(
    project: Project,
    target: Target | str,
    *,
    device: DeviceName,
    until_epoch: int | None = None,
    report: Report,
    stop: Stop,
) -> tuple[str, list[Failure]]:
    """Train on the slides that are not held back.

    Parameters
    ----------
    project : Project
    target : Target or str
        See :func:`src_core.cohorts.load_cohort`.
    device, until_epoch, report, stop
        See :func:`src_core.training.fit`.

    Returns
    -------
    run_id : str
        Name of the new run.
    failures : list of Failure
        Labelled slides that were not ready, so neither learned from nor held back.

    Raises
    ------
    ProjectError
        If there are too few labelled, clustered slides or patients.
    DivergedError
        If the loss leaves the finite numbers; there is no new run then.
    """
    cohort, failures = load_cohort(project, target)
    learn, held_back = split_cohort(project, cohort)
    config = project.config.training.replace(device=device)
    held = [slide.slide_id for slide in held_back.slides]
    run_id = train_run(
        project,
        learn,
        config,
        held_back=held,
        until_epoch=until_epoch,
        report=report,
        stop=stop,
    )
    return run_id, failures


def latest_run(project: Project, target: str | None = None) -> str:
    """Return the newest finished run, of those that learned `target` if it is given.

    Raises
    ------
    ProjectError
        If there is none.
    """
    if target is None:
        return project.latest_run()
    for run_id in reversed(project.runs()):
        if checkpoint_meta(project.run(run_id) / "checkpoint").target_name == target:
            return run_id
    raise ProjectError(f"{project.root} has no model of {target!r}; run Train first.")


def metrics(project: Project, run_id: str) -> dict[str, Any]:
    """Return what was measured while a run was trained."""
    return read_json(project.run(run_id) / "metrics.json")


class SlideInputs(NamedTuple):
    """What a model reads of a slide; row ``i`` of everything is the same patch."""

    grid: PatchGrid
    views: tuple[EmbeddingView, ...]
    labels: Labels
    edits: SelectionEdits


@dataclass(frozen=True, slots=True)
class Predictor:
    """A run's model, loaded once for many slides."""

    project: Project
    run_id: str
    checkpoint: Checkpoint
    device: DeviceName

    @classmethod
    def load(cls, project: Project, run_id: str, *, device: DeviceName) -> Predictor:
        """Load a run's checkpoint.

        Raises
        ------
        ProjectError
            If the project has no such run.
        CheckpointError
            If its checkpoint is damaged.
        """
        from src_core.models.checkpoint import Checkpoint

        folder = project.run(run_id) / "checkpoint"
        if not folder.is_dir():
            known = ", ".join(project.runs()) or "none"
            raise ProjectError(f"{project.root} has no run {run_id!r}; it has {known}.")
        return cls(project, run_id, Checkpoint.load(folder), device)

    def predict(self, slide: SlideFolder, *, report: Report, stop: Stop) -> Prediction:
        """Predict a slide with its maps, and store the prediction in the project; see `look`."""
        prediction = self.look(slide, report=report, stop=stop)
        prediction.save(self.project.prediction(self.run_id, slide.slide_id))
        return prediction

    def look(self, slide: SlideFolder, *, report: Report, stop: Stop) -> Prediction:
        """Predict a slide, which may be another project's, and store nothing of it.

        Raises
        ------
        ProjectError, GridMismatchError, StaleArtifactError
            If the slide is not embedded as the model needs it, or of another magnification.
        TooFewPatchesError
            If all its patches are excluded.
        CheckpointError
            If weights or embeddings are so large that nothing comes of them.
        """
        from src_core.inference.predict import predict_slide

        inputs = self.gather(slide, report=report, stop=stop)
        prediction = predict_slide(
            self.checkpoint,
            inputs.views,
            inputs.labels,
            inputs.grid.cells,
            edits=inputs.edits,
            slide_id=slide.slide_id,
            n_bags=self.n_bags,
            seed=self.checkpoint.meta.seed,
            device=self.device,
            report=report,
            stop=stop,
        )
        return prediction.replace(grid_id=inputs.grid.grid_id, run_id=self.run_id)

    def gather(self, slide: SlideFolder, *, report: Report, stop: Stop) -> SlideInputs:
        """Return what the model reads of a slide, clustered as the run's slides were.

        Raises
        ------
        ProjectError, GridMismatchError, StaleArtifactError, TooFewPatchesError
            See `read`.
        """
        grid, views, edits = self.read(slide)
        # By the run's own settings, which the project may have left behind.
        clusters = made_clusters(
            slide,
            grid,
            views,
            self._clustering,
            device=self.device,
            report=report,
            stop=stop,
        )
        return SlideInputs(grid, views, load_clusters(clusters)[0], edits)

    def read(
        self, slide: SlideFolder
    ) -> tuple[PatchGrid, tuple[EmbeddingView, ...], SelectionEdits]:
        """Return what is stored of a slide, clusters aside, if the model can read it.

        Raises
        ------
        ProjectError, GridMismatchError, StaleArtifactError
            If the slide is not embedded as the model needs it, or of another magnification.
        TooFewPatchesError
            If all its patches are excluded.
        """
        from src_core.inference.predict import choose_views

        grid, meta = slide.load_grid(), self.checkpoint.meta
        sizes = meta.preparation.get("patches")
        others = "those that the model learned from"
        require_patches(sizes, grid.lattice, slide_id=slide.slide_id, others=others)
        views = stored_views(slide, grid, [source.name for source in meta.encoders])
        choose_views(meta.encoders, views, slide.slide_id)
        edits = slide.selection.edits(grid)
        edits.applied(np.zeros(len(grid), np.int32), slide_id=slide.slide_id)  # is any left?
        return grid, views, edits

    @property
    def n_bags(self) -> int:
        """Bags of a slide at least, by the run's own settings."""
        return self._settings(TrainConfig, self.checkpoint.meta.train_config).n_bags

    @property
    def _clustering(self) -> ClusterConfig:
        return self._settings(ClusterConfig, self.checkpoint.meta.preparation.get("clustering"))

    def _settings(self, cls: type[ConfigT], stored: Any) -> ConfigT:
        try:
            return cls.from_dict(stored)
        except ConfigError as error:
            raise CheckpointError(
                f"The checkpoint of run {self.run_id} is damaged: {error}"
            ) from error


def draw(project: Project, run_id: str, slide: SlideFolder, path: Path) -> None:
    """Save a slide and its maps side by side as a picture.

    Raises
    ------
    ProjectError
        If the slide has no prediction by this run.
    """
    folder = project.prediction(run_id, slide.slide_id)
    if not (folder / "prediction.json").is_file():
        raise ProjectError(f"Slide {slide.slide_id!r} has no prediction by {run_id}; run Predict.")
    config = ProjectConfig.from_dict(read_json(project.run(run_id) / "config.json")["project"])
    draw_prediction(Prediction.load(folder), slide, path, config=config)


def draw_prediction(
    prediction: Prediction,
    slide: SlideFolder,
    path: Path,
    *,
    config: ProjectConfig,
    output: int | None = None,
) -> None:
    """Save a slide and the maps of a prediction of it side by side as a picture.

    Parameters
    ----------
    prediction : Prediction
    slide : SlideFolder
        With the grid that it was predicted on.
    path : Path
        Its ending names the format.
    config : ProjectConfig
        By which it was embedded and clustered.
    output : int, optional
        Class or target whose maps are shown; by default the predicted class, or the first target.
    """
    grid = slide.load_grid()
    prediction.require_grid(grid.grid_id, len(grid))
    views = stored_views(slide, grid, config.encoders)
    reader = slide.open()
    try:
        thumbnail = _thumbnail(reader, grid.lattice)
    finally:
        reader.close()
    panels = prediction_panels(
        prediction,
        labels=stored_clusters(slide, grid, views, config.clustering),
        cells=grid.cells,
        shape_hw=grid.lattice.shape_hw,
        stride_um=grid.lattice.stride_um,
        thumbnail=thumbnail,
        shown_class=output,
    )
    licences = sorted(set(prediction.licences.values()))
    save_figure(
        path, panels, title=f"{slide.slide_id}: {_odds(prediction, output)}", licences=licences
    )


def _odds(prediction: Prediction, output: int | None) -> str:
    """Return what is said of a slide; of many outputs the one that is shown."""
    told = [f"{name} {value:.2f}" for name, value in prediction.by_class().items()]
    if len(told) <= _MOST_IN_TITLE:
        return ", ".join(told)
    shown = prediction.shown_output if output is None else output
    return f"{told[shown]} and {len(told) - 1} more"


def _thumbnail(reader: SlideReader, lattice: Lattice) -> Rgb:
    """Return the rectangle of the slide that a lattice covers, at most `_THUMBNAIL_PX` wide."""
    reach = max(lattice.shape_hw) * lattice.stride_l0
    scale = finer_scale(reader.properties, reach / _THUMBNAIL_PX)
    rows, columns = (
        round(count * lattice.stride_l0 / scale.downsample) for count in lattice.shape_hw
    )
    x, y = lattice.origin_xy
    return read_scaled(reader, (round(x), round(y)), scale, (max(1, columns), max(1, rows)))
