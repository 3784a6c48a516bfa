"""Opens a project: a slide with everything that is stored about it, computing nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_fusecpath.layers.brought import show_roi
from napari_fusecpath.layers.find import Role, about, find_layer, role_of, set_visible
from napari_fusecpath.layers.maps import (
    show_agreement,
    show_attention,
    show_contribution,
    show_prediction,
)
from napari_fusecpath.layers.overlays import show_clusters, show_quality, show_tissue
from napari_fusecpath.layers.slide import set_slide_mpp, slide_layer_data
from napari_fusecpath.layers.stack import follow_slide
from napari_fusecpath.layers.unused_paint import bring_paint, keep_paint
from napari_fusecpath.layers.unused_region import bring_region, keep_region
from napari_fusecpath.layers.view_files import load_last_slide
from napari_fusecpath.notify import report_error
from napari_fusecpath.readers.slide import show_slide
from napari_fusecpath.state import workbench_of
from src_core.clustering.legend import Legend
from src_core.clustering.result import load_agreement, load_clusters
from src_core.errors import FusecpathError, ProjectError
from src_core.geojson import read_polygons
from src_core.inference.palette import cluster_colors
from src_core.inference.prediction import Prediction
from src_core.patches.grid import PatchGrid
from src_core.preparing import load_flags
from src_core.project import Project, SlideFolder, SlideRecord

if TYPE_CHECKING:
    from napari.viewer import Viewer

__all__ = [
    "enter_project",
    "forget_results",
    "get_reader",
    "read_project",
    "show_map",
    "show_results",
    "show_stored",
    "slide_to_open",
]

_FILE = "project.json"
_DRAWN_ON: dict[Role | None, Callable[[Viewer], None]] = {
    "tissue": keep_paint,
    "roi": keep_region,
}
"""What keeps what a person has made of a layer, and not used yet, before the layer goes."""
_TOP: tuple[Role, ...] = ("prediction", "contribution", "clusters", "tissue")
"""Of the layers that come new, the first of these is visible: one on top of another hides it."""
_MAPS: tuple[Role, ...] = (*_TOP, "attention", "agreement")


def get_reader(
    path: str | Sequence[str],
) -> Callable[[str | Sequence[str]], list[tuple[Any, ...]]] | None:
    """Return the function that opens the project at `path`, None if there is none there."""
    return read_project if isinstance(path, str) and _root(path) is not None else None


def read_project(path: str | Sequence[str]) -> list[tuple[Any, ...]]:
    """Open a project by the slide to show first, with what is stored about it.

    With a viewer the layers go there themselves, where later results find and replace them;
    without one the slide alone is returned.

    Raises
    ------
    ProjectError
        One sentence that says what is wrong with the project.
    SlideReadError
        If the files of the slides have moved; the project is open all the same.
    """
    import napari

    root = _root(path) if isinstance(path, str) else None
    if root is None:
        raise ProjectError(f"{path} is not a project (it has no {_FILE}).")
    project = Project.open(root)
    first = slide_to_open(project)
    if first is None:
        raise ProjectError(f"{root} has no slides yet; prepare some first.")
    viewer, slide = napari.current_viewer(), project.slide(first)
    if viewer is None:
        return [(*slide_layer_data(slide.open(), slide.pyramid, slide_id=slide.slide_id), "image")]
    enter_project(viewer, project, slide)
    show_stored(viewer, project, slide)
    return [(None,)]


def slide_to_open(project: Project) -> str | None:
    """Return the slide that the user looked at last if it is there, else the first that is."""
    last = load_last_slide(project.root, project.slide_ids())
    is_there = last is not None and project.slide(last).is_there
    return last if is_there else project.first_slide_id()


def enter_project(viewer: Viewer, project: Project, slide: SlideFolder | None) -> None:
    """Turn to a project, before a slide of it is shown; results of another one go.

    They stay until those of the slide take their place, if it is there.
    """
    workbench = workbench_of(viewer)
    workbench.turn_to_project(project.root)
    if workbench.slide_id is None and (slide is None or not slide.is_there):
        forget_results(viewer)


def show_stored(
    viewer: Viewer, project: Project, slide: SlideFolder, *, run_id: str | None = None
) -> None:
    """Turn a viewer to a slide of a project: the slide and every result that is stored.

    Layers of results keep their place and settings; those that this slide lacks are removed. A
    damaged result is left out and said.

    Parameters
    ----------
    viewer : napari viewer
        Where.
    project : Project
        The project.
    slide : SlideFolder
        One of its slides.
    run_id : str, optional
        Whose prediction is shown; the newest run's if None.
    """
    reader = slide.open()
    active = viewer.layers.selection.active
    show_slide(viewer, reader, slide.pyramid, slide_id=slide.slide_id)
    is_map = active in viewer.layers and role_of(active) in _MAPS
    if is_map and active.mode == "pan_zoom":  # its value stands in the status bar
        viewer.layers.selection.active = active
    workbench = workbench_of(viewer)
    workbench.project = project.root
    workbench.open_slide(reader.properties.path, slide_id=slide.slide_id)
    show_results(viewer, project, slide, run_id=run_id)


def show_results(
    viewer: Viewer, project: Project, slide: SlideFolder, *, run_id: str | None = None
) -> None:
    """Show what is stored of the slide that is on the canvas already; see `show_stored`.

    The slide takes the scale that the project remembers, unless the user has typed another.
    """
    record = slide.record
    _rescale(viewer, record)
    known = {role_of(layer) for layer in viewer.layers}
    shown: set[Role] = set()
    steps = [
        (record.tissue_id, _tissue),
        (record.candidates_id, _quality),
        (record.roi_id, _roi),
        (_clusters_id(viewer, record), _clusters),
        (_run_in_view(viewer, project, run_id), _prediction),
    ]
    for wanted, step in steps:
        if wanted is not None:
            try:
                shown |= step(viewer, project, slide, wanted)
            except FusecpathError as error:
                report_error(error)
    _tidy(viewer, known, shown)
    bring_region(viewer, str(workbench_of(viewer).slide_path), record.roi_id)


def _rescale(viewer: Viewer, record: SlideRecord) -> None:
    """Let the slide have the scale by which its results were made, unless one was typed."""
    follow_slide(viewer)  # what was there before the slide's layer came
    layer, workbench = find_layer(viewer, "slide"), workbench_of(viewer)
    if layer is None or record.mpp is None or workbench.slide_mpp is not None:
        return
    notes = about(layer)
    is_in_view = workbench.slide_path is not None and (
        Path(notes["path"]).absolute() == workbench.slide_path.absolute()
    )
    if is_in_view and notes["mpp"] != record.mpp:
        set_slide_mpp(viewer, record.mpp, source=record.mpp_source)
        viewer.reset_view()


def _tissue(viewer: Viewer, project: Project, slide: SlideFolder, tissue_id: str) -> set[Role]:
    layer, shown = find_layer(viewer, "tissue"), (str(slide.root), tissue_id)
    if layer is None or about(layer).get("shown") != shown:  # what is being painted stays
        if layer is not None and about(layer).get("shown", shown)[0] != shown[0]:
            keep_paint(viewer)
        mask = slide.load_tissue()
        tissue = show_tissue(viewer, mask, mpp=slide.record.mpp)
        about(tissue).update(shown=shown, found=mask.mask)
        bring_paint(viewer, tissue)
    return {"tissue"}


def _quality(viewer: Viewer, project: Project, slide: SlideFolder, grid_id: str) -> set[Role]:
    judged = load_flags(slide, project.config.quality)
    if judged is None or not judged[1].any():
        return set()
    show_quality(viewer, *judged)
    return {"quality"}


def _roi(viewer: Viewer, project: Project, slide: SlideFolder, roi_id: str) -> set[Role]:
    layer, shown = find_layer(viewer, "roi"), (str(slide.root), roi_id)
    if layer is None or about(layer).get("shown") != shown:  # what is being drawn stays
        polygons = list(read_polygons(slide.roi(roi_id)))
        path = str(workbench_of(viewer).slide_path)
        if layer is not None and about(layer)["slide"] != path:
            keep_region(viewer)
        layer = show_roi(viewer, polygons, mpp=slide.record.mpp, slide=path)
        about(layer)["shown"] = shown
    about(layer)["in_use"] = roi_id
    return {"roi"}


def _clusters_id(viewer: Viewer, record: SlideRecord) -> str | None:
    """Return which clusters are shown: those in common with other slides, if wanted and there."""
    is_joint = workbench_of(viewer).is_joint and record.joint_id is not None
    return record.joint_id if is_joint else record.clusters_id


def _clusters(viewer: Viewer, project: Project, slide: SlideFolder, clusters_id: str) -> set[Role]:
    grid = slide.load_grid()
    layer, shown = find_layer(viewer, "clusters"), (str(slide.root), grid.grid_id, clusters_id)
    if layer is None or about(layer).get("shown") != shown:  # what stands out goes on doing so
        folder = slide.clusters(grid.grid_id, clusters_id)
        labels, meta = load_clusters(folder)
        # Of all clusters, also of those in common that this slide lacks: colours go by the number.
        legend = _legend(slide, folder, meta["n_clusters"])
        colors = legend.rgb(cluster_colors(legend.n_clusters))
        layer = show_clusters(viewer, grid, labels, names=legend.all_names(), colors=colors)
        about(layer)["shown"] = shown
    workbench = workbench_of(viewer)
    workbench.turn_to_grid(grid.grid_id)
    workbench.clusters_id = clusters_id
    return {"clusters", *_agreement(viewer, grid, slide.clusters(grid.grid_id, clusters_id))}


def _legend(slide: SlideFolder, clusters: Path, n_clusters: int) -> Legend:
    """Return what people call the clusters; a damaged file is said, and hides no cluster."""
    try:
        return slide.legend(clusters).current()
    except FusecpathError as error:
        report_error(error)
        return Legend(n_clusters=n_clusters)


def _agreement(viewer: Viewer, grid: PatchGrid, folder: Path) -> set[Role]:
    """Show how far the encoders agree; clusters of an earlier version do not know."""
    if not (folder / "agreement.npy").is_file():
        return set()
    agreement = load_agreement(folder)
    if not agreement.shape[1]:
        return set()
    show_agreement(viewer, grid, agreement.mean(axis=1))
    return {"agreement"}


def _prediction(viewer: Viewer, project: Project, slide: SlideFolder, run_id: str) -> set[Role]:
    folder = project.prediction(run_id, slide.slide_id)
    if not (folder / "prediction.json").is_file():
        return set()
    grid, prediction = slide.load_grid(), Prediction.load(folder)
    prediction.require_grid(grid.grid_id, len(grid))
    workbench = workbench_of(viewer)
    usual = prediction.classes[prediction.shown_output]
    if workbench.class_name not in prediction.classes:
        workbench.class_name = usual
    workbench.turn_to_grid(grid.grid_id)
    workbench.run_id = run_id
    name = workbench.class_name or usual
    shown: set[Role] = {"attention", "contribution"}
    if prediction.has_classes:
        shown.add("prediction")
    for role in sorted(shown):
        show_map(viewer, grid, prediction, role, name)
    return shown


def show_map(
    viewer: Viewer, grid: PatchGrid, prediction: Prediction, role: Role, name: str
) -> None:
    """Draw one map; what has ranks as computed or by rank, whichever the workbench has chosen.

    Parameters
    ----------
    viewer : napari viewer
    grid : PatchGrid
    prediction : Prediction
        Of this grid.
    role : {"attention", "contribution", "prediction"}
        Which map.
    name : str
        Whose contributions or probability.
    """
    by_rank, column = workbench_of(viewer).is_by_rank, prediction.classes.index(name)
    if role == "attention":
        show_attention(viewer, grid, prediction.attention, by_rank=by_rank)
        return
    if role == "prediction":
        show_prediction(viewer, grid, prediction.patch_probabilities[:, column], class_name=name)
        return
    values = prediction.map_contributions[:, column]
    task = prediction.task
    show_contribution(viewer, grid, values, class_name=name, task=task, by_rank=by_rank)


def _run_in_view(viewer: Viewer, project: Project, run_id: str | None) -> str | None:
    """Return whose prediction is shown: the newest run's if none is named, nobody's to the blind.

    Layers that are merely hidden would still tell the class by their names.
    """
    if workbench_of(viewer).is_blind:
        return None
    runs = project.runs()
    return run_id or (runs[-1] if runs else None)


def _tidy(viewer: Viewer, known: set[Role | None], shown: set[Role]) -> None:
    """Remove what belongs to the slide before, and show one of the layers that are new.

    None where a map of the slide before is in view still: it is what the user compares.
    """
    kept = (layer for layer in viewer.layers if role_of(layer) in known & shown & set(_MAPS))
    is_seen = any(layer.visible for layer in kept)
    top = None if is_seen else next((role for role in _TOP if role in shown), None)
    tissue = find_layer(viewer, "tissue")  # flaws are seen with it
    is_tissue_seen = top == "tissue" or (top is None and tissue is not None and tissue.visible)
    for layer in list(viewer.layers):
        role = role_of(layer)
        if role in (
            None,
            "slide",
            "marks",
            "lasso",
            "shade",
            "selection",
            "measures",
        ):  # no results: their steps turn them over
            continue
        if role == "roi" and about(layer).get("slide") == str(workbench_of(viewer).slide_path):
            continue  # it may be drawn just now
        if role not in shown:
            if role in _DRAWN_ON:
                _DRAWN_ON[role](viewer)
            viewer.layers.remove(layer)
        elif role not in known:
            set_visible(layer, role == top or (role == "quality" and is_tissue_seen))


def forget_results(viewer: Viewer) -> None:
    """Remove all that is shown of a slide but the slide itself."""
    for keep in _DRAWN_ON.values():
        keep(viewer)
    for layer in list(viewer.layers):
        if role_of(layer) not in (None, "slide"):
            viewer.layers.remove(layer)
    bring_region(viewer, str(workbench_of(viewer).slide_path), None)


def _root(path: str) -> Path | None:
    one = Path(path)
    root = one.parent if one.name == _FILE else one
    return root if (root / _FILE).is_file() and (root / "slides").is_dir() else None
