"""The steps of a script that make a model again, and what it was asked."""

from __future__ import annotations

import json
from collections.abc import Sequence

from src_core.bags.label_table import LabelRow, LabelTable
from src_core.bags.targets import read_targets
from src_core.errors import ProjectError
from src_core.exchange.script_checks import changed_since
from src_core.exchange.script_records import Run, table_of, when
from src_core.exchange.script_state import State, Take, on
from src_core.exchange.script_text import Call, Copy, Inside, Step, Word, given
from src_core.exchange.script_then import Then, heard_by
from src_core.provenance import read_json, recipe_id
from src_core.training.feedback_config import FeedbackConfig
from src_core.tuned_runs import CANDIDATE
from src_core.tuning_check import needs_decision

__all__ = ["repeat_model"]


def repeat_model(state: State, run: Run) -> None:
    """Make one model again, and the final score and the predictions by it."""
    repeats = run.repeats
    parent = repeats or run.parent
    problem = _problem(state, run, parent)
    if problem:
        state.steps.append(Step((f"{run.run_id} is not repeated: {problem}.",)))
        return
    acts = state.marks(_then(state, run), run.run_id)
    said = ["Marks and selections that people made by hand are put in place."] * bool(acts)
    name, kind = _next_name(state), "Train"
    if repeats is not None:
        more: list[Take] = [Call(("train", Inside(), "--from-run", state.names[repeats]))]
    elif run.parent is not None:
        name, kind = _tuned_name(state, run), "Fine-tune"
        more, told = _finetune(state, run)
        said += told
    else:
        more = _train(state, run)
        said += changed_since(state.project, run, state.slides)
    called = "" if name == run.run_id else f", which is {name} here"
    made = when([run.folder / "config.json"])
    state.names[run.run_id] = name
    head = f"{kind} {run.run_id}{called}; made {made}, {_by(run)}."
    state.steps.append(Step((head, *said), (*acts, *more, *_asked_of(state, run, name))))


def _then(state: State, run: Run) -> Then:
    """Return how much had been marked and corrected that a run has to do with.

    A repeated fine-tuning hears nothing of later, but here all of it would seem to be of before.
    """
    until = run.asked.get("reviewed_until")
    if isinstance(until, str) and run.repeats is None:
        return Then(until, heard_by(run.asked))  # what was said while it learned has no part in it
    if run.parent is None or run.repeats is None:
        return Then(run.time)
    before = next((one for one in state.runs if one.run_id == run.repeats), run)
    return Then(run.time) if before is run else _then(state, before)


def _problem(state: State, run: Run, parent: str | None) -> str:
    """Return why a run cannot be made again, "" if it can."""
    if parent is not None and parent not in state.names:
        return f"{parent}, from which it comes, is not there"
    if run.parent is None and not state.project.labels_path.is_file():
        return "the project has no labels table now"
    lacking = [name for name in run.names("trained_on") if name not in state.ids]
    return f"slide {lacking[0]}, of which it learned, has no patches now" if lacking else ""


def _next_name(state: State) -> str:
    made = sum(not name.startswith(CANDIDATE) for name in state.names.values())
    return f"run-{made + 1:04d}"


def _call(run: Run, *words: Word) -> Call:
    """Return a call on the device and with the threads of a run."""
    return Call((*words, *on(run.device)), run.threads)


def _train(state: State, run: Run) -> list[Take]:
    names = [name for key in ("trained_on", "held_back") for name in run.names(key)]
    names = [name for name in names if name in state.ids]
    acts = [*state.turn_to(run.config), *state.cluster(sorted(names))]
    acts += [*_labels(state, run, names), *_split(state, run), *state.corrections(Then(run.time))]
    target = run.target
    words: list[Word] = ["--target", *given(*target.columns)]
    words += ["--task", target.task] if target.task != "classification" else []
    words += ["--per", target.level] if target.level == "patient" else []
    words += [] if run.until_epoch is None else ["--until-epoch", str(run.until_epoch)]
    return [*acts, _call(run, "train", Inside(), *words)]


def _labels(state: State, run: Run, names: Sequence[str]) -> list[Take]:
    """Return the call that takes in the table of a training's slides, in its order, if it is new.

    Before the training and not with it: labels are corrected in a table that is there.
    """
    table = state.project.labels()
    rows = [row for row in table.rows if row.slide_id in state.ids]
    wanted = [row for row in rows if row.slide_id in set(names)]
    learned = [row.slide_id for row in wanted if row.slide_id in run.names("trained_on")]
    if learned != run.names("trained_on"):
        by_name = {row.slide_id: row for row in wanted}
        wanted = [by_name[name] for name in names if name in by_name]
    elif not _labelled(table, run, rows) - set(names):
        wanted = rows  # nobody else could be learned from
    content = table_of(state.project, wanted, table.targets, state.folder)
    if content == state.table or not wanted:
        return []
    state.table = content
    name = f"labels-{run.run_id}.csv" if "labels.csv" in state.files else "labels.csv"
    return [state.prepare("--labels", state.beside(name, content), embed=False)]


def _labelled(table: LabelTable, run: Run, rows: Sequence[LabelRow]) -> set[str]:
    """Return the slides, of some rows, that could be learned from."""
    try:
        found = read_targets(table, run.target, classes=run.meta.classes)
    except ProjectError:  # the table has classes or columns of later
        return {row.slide_id for row in rows}
    return {one.row.slide_id for one in found} & {row.slide_id for row in rows}


def _split(state: State, run: Run) -> list[Take]:
    """Put in place which patients are held back, for that was drawn once and then kept."""
    owners = state.project.patients()
    held = sorted({owners.get(name, name) for name in run.names("held_back")})
    if not held or state.held.get(run.target.name) == held:
        return []
    state.held[run.target.name] = held
    content = (json.dumps(state.held, indent=1) + "\n").encode()
    file = state.beside(f"splits-{run.run_id}.json", content)
    return [Copy(file, Inside("cohort/splits.json"))]


def _finetune(state: State, run: Run) -> tuple[list[Take], list[str]]:
    config = FeedbackConfig.from_dict(run.asked.get("feedback") or {})
    words: list[Word] = ["--run", state.names[str(run.parent)], "--epochs", str(config.epochs)]
    words += ["--tolerance", str(config.tolerance)]
    marks = run.asked.get("marks")
    marked = list(marks) if isinstance(marks, dict) else []
    words += ["--slides", *given(*marked)] if marked else []
    check = read_json(run.folder / "metrics.json").get("check")
    if needs_decision(check, config.tolerance) and not run.run_id.startswith(CANDIDATE):
        words.append("--accept-drop")
    said = []
    if config != FeedbackConfig(epochs=config.epochs, tolerance=config.tolerance):
        said = ["It learned by settings that no command can give: what is made here will differ."]
    call = _call(run, "finetune", Inside(), *words)
    return [*state.corrections(_then(state, run)), call], said


def _tuned_name(state: State, run: Run) -> str:
    if not run.run_id.startswith(CANDIDATE):
        return _next_name(state)
    made_of = {key: run.asked.get(key) for key in ("parent", "review", "feedback")}
    return CANDIDATE + recipe_id({**made_of, "parent": state.names[str(run.parent)]})


def _asked_of(state: State, run: Run, name: str) -> list[Take]:
    """Return what a model was asked: the final score, predictions."""
    device = on(run.device)
    calls = list[Take]()
    if (run.folder / "held_back.json").is_file():
        calls.append(Call(("evaluate", Inside(), "--run", name, *device), state.threads))
    found = state.project.root.glob(f"predictions/{run.run_id}/*/prediction.json")
    predicted = sorted(path.parent.name for path in found if path.parent.name in state.ids)
    return [*calls, *state.over(predicted, "predict", "--run", name, *device)]


def _by(run: Run) -> str:
    """Return which versions made a run, and on what."""
    versions = run.asked.get("versions")
    if not isinstance(versions, dict):
        return "by which version is not on record"
    told = [f"version {versions.get('napari-fusecpath', 'unknown')}"]
    told += [f"{name} {versions[name]}" for name in ("torch", "python") if name in versions]
    return f"by {', '.join(told)}{f', on {run.device}' * bool(run.device)}"
