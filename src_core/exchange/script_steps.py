"""From a project's records to the steps that make it again.

The steps follow the runs, in the order in which they were made, and end with what holds today.
"""

from __future__ import annotations

import json
from pathlib import Path

from src_core.clustering.result import load_clusters
from src_core.exchange.script_models import repeat_model
from src_core.exchange.script_records import when
from src_core.exchange.script_slides import take_slides_in
from src_core.exchange.script_state import State, Take, on
from src_core.exchange.script_text import Copy, Inside, Step
from src_core.exchange.script_then import NOW
from src_core.progress import Stop, check
from src_core.project import ProjectConfig, SlideFolder
from src_core.scattering import find_neighbour_scatter

__all__ = ["lay_steps"]


def lay_steps(state: State, *, stop: Stop) -> None:
    """Lay the steps that make a project again.

    Parameters
    ----------
    state : State
        Of nothing so far.
    stop : callable
        Asked between steps; see :mod:`src_core.progress`.

    Raises
    ------
    ProjectError
        If a record is damaged.
    """
    if state.slides:
        first = state.runs[0] if state.runs else state.project
        take_slides_in(state, first.config)
    for run in state.runs:
        check(stop)
        repeat_model(state, run)
    if state.slides:
        _today(state)
    _leave_out(state)


def _today(state: State) -> None:
    """Lay what holds today and no run needed: clusters, labels, marks."""
    acts = state.marks(NOW, "today")
    said = ["Marks and selections that people made by hand are put in place."] * bool(acts)
    acts += _in_common(state)
    groups = _clusterings(state)
    for key in sorted(groups, key=lambda one: groups[one][0] == state.project.config):
        config, names = groups[key]
        acts += [*state.turn_to(config), *state.cluster(names)]
    acts += [*_scatters(state), *_legends(state)]
    acts += state.turn_to(state.project.config)
    acts += [*state.whole_table(), *_mark_labels(state), *_measured(state)]
    acts += state.corrections(NOW) if state.table is not None else []
    if acts:
        made = when(
            slide.current_clusters() / "meta.json" for slide in state.slides if _clustered(slide)
        )
        head = f"What holds today; last clustered {made}, by which version is not on record."
        state.steps.append(Step((head, *said), tuple(acts)))


def _clusterings(state: State) -> dict[str, tuple[ProjectConfig, list[str]]]:
    """Return slides by the settings and encoders of the clusters that they have in use."""
    groups: dict[str, tuple[ProjectConfig, list[str]]] = {}
    for slide in filter(_clustered, state.slides):
        config = _settings(state, slide.current_clusters())
        key = json.dumps(config.to_dict(), sort_keys=True)
        groups.setdefault(key, (config, []))[1].append(slide.slide_id)
    return groups


def _in_common(state: State) -> list[Take]:
    """Cluster the slides together that were clustered so, by the settings of then."""
    joint = [slide for slide in state.slides if slide.record.joint_id is not None]
    if not joint:
        return []
    names = [slide.slide_id for slide in joint]
    acts = state.turn_to(_settings(state, joint[0].joint_clusters()))
    return [*acts, *state.over(names, "cluster", "--joint", *on(state.device))]


def _settings(state: State, clusters: Path) -> ProjectConfig:
    """Return the project's settings with those by which some clusters were made."""
    recipe = load_clusters(clusters)[1]["recipe"]
    views, config = list(recipe.get("views") or ()), state.project.config
    if views != list(config.encoders):
        config = config.replace(encoders=views)
    return config.replace(clustering=recipe.get("config"))


def _scatters(state: State) -> list[Take]:
    """Lay patches out by their neighbours where someone has asked for it."""
    own, joint = (
        {slide.slide_id: find_neighbour_scatter(slide, joint=of_all) for slide in state.slides}
        for of_all in (False, True)
    )
    in_common = [name for name, folder in joint.items() if folder not in (None, own[name])]
    calls = state.over([name for name, folder in own.items() if folder], "scatter")
    return [*calls, *state.over(in_common, "scatter", "--joint")]


def _legends(state: State) -> list[Take]:
    """Put in place what people call the clusters: those that are made again are the same ones."""
    acts: dict[Path, Take] = {}
    root = state.project.root
    for slide in state.slides:
        shown = {slide.record.clusters_id: "legend", slide.record.joint_id: "legend_in_common"}
        for clusters_id, name in shown.items():
            if clusters_id is None:
                continue
            path = slide.legend(slide.clusters(str(slide.record.grid_id), clusters_id)).path
            if path.is_file() and path not in acts:
                file = state.beside(f"{slide.slide_id}/{name}.json", path)
                acts[path] = Copy(file, Inside(path.relative_to(root).as_posix()))
    return list(acts.values())


def _mark_labels(state: State) -> list[Take]:
    path = state.project.root / "cohort" / "mark_labels.json"
    if not path.is_file():
        return []
    return [Copy(state.beside("mark_labels.json", path), Inside("cohort/mark_labels.json"))]


def _measured(state: State) -> list[Take]:
    """Put in place the distances and areas that people have drawn."""
    acts = list[Take]()
    for slide in state.slides:
        path = slide.measurements.path
        if path.is_file():
            file = state.beside(f"{slide.slide_id}/{path.name}", path)
            acts.append(Copy(file, Inside(path.relative_to(state.project.root).as_posix())))
    return acts


def _leave_out(state: State) -> None:
    """Say what of the project the steps do not make."""
    root, said = state.project.root, list[str]()
    said += [f"{name} is left out: {why}" for name, why in state.without.items()]
    if any(root.glob("cross-validations/*")) or any(root.glob("comparisons/*")):
        said.append("Cross-validations and comparisons are not repeated; evaluate makes them.")
    if any(root.glob("slides/*/grids/*/sweeps/*")) or any(root.glob("predictions/*/*/expl*")):
        said.append("Sweeps of numbers of clusters and explanations are not repeated.")
    if said:
        state.steps.append(Step(tuple(said)))


def _clustered(slide: SlideFolder) -> bool:
    return slide.record.clusters_id is not None
