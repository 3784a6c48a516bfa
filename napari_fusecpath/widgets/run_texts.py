"""What a training run has learnt, and what it was worth, from what it has stored."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

from napari_fusecpath.widgets.result_texts import number, score_text
from src_core.cohorts import names_in
from src_core.errors import FusecpathError, ProjectError
from src_core.project import Project
from src_core.provenance import MAX_SCORES_BYTES, read_json
from src_core.training.figures import SKILL, SKILL_NAME

__all__ = ["epochs_of", "report_page", "run_text", "stored_score"]

_MOST_EPOCHS = 10_000
_SKILLS = [(key, SKILL_NAME[task]) for task, key in SKILL.items()]


def run_text(project: Project, run_id: str) -> str:
    """Return what a run has learnt, in a few lines."""
    folder = project.run(run_id)
    try:
        asked, metrics = read_json(folder / "config.json"), read_json(folder / "metrics.json")
    except FusecpathError as error:
        return str(error)
    held, trained = (names_in(asked.get(key)) for key in ("held_back", "trained_on"))
    learned = f"learned from {number(len(trained), 'slide')}, {len(held)} held back"
    task = asked.get("task", "classification")
    lines = [f"{run_id}: {task} of {asked.get('target')}, {learned}."]
    try:
        last = _last_epoch(epochs_of(project, run_id))
    except ProjectError as error:
        last = str(error)
    if last:
        lines.append(last)
    notes = metrics.get("notes")
    lines += [str(note) for note in notes] if isinstance(notes, list) else []
    return "\n".join(lines)


def epochs_of(project: Project, run_id: str) -> list[dict[str, float]]:
    """Return what was measured at each epoch of a run; empty if it has not noted that.

    Raises
    ------
    ProjectError
        If its history is damaged: a run may come from anywhere.
    """
    path = project.run(run_id) / "history.jsonl"
    try:
        with path.open(encoding="utf-8") as stream:
            rows = [json.loads(line) for line in islice(stream, _MOST_EPOCHS)]
        return [_numbers(row) for row in rows]
    except FileNotFoundError:
        return []
    except (AttributeError, KeyError, OSError, TypeError, ValueError, RecursionError) as error:
        raise ProjectError(f"{path} is damaged.") from error


def _numbers(row: dict[str, object]) -> dict[str, float]:
    found = {key: float(one) for key, one in row.items() if isinstance(one, int | float)}
    return {"epoch": found["epoch"], "loss": found["loss"], **found}


def _last_epoch(rows: list[dict[str, float]]) -> str:
    if not rows:
        return ""
    row = rows[-1]
    text = f"{number(len(rows), 'epoch')}, loss {row['loss']:.3f}"
    seen = [(name, row.get(f"inner_{key}")) for key, name in _SKILLS]
    watched = "".join(
        f", {name} {value:.2f} where training was watched"
        for name, value in seen
        if value is not None
    )
    return f"{text}{watched}."


def stored_score(project: Project, run_id: str) -> str:
    """Return what a run was worth on the slides held back; empty if it was not scored."""
    path = project.run(run_id) / "held_back.json"
    try:
        return score_text(read_json(path, at_most=MAX_SCORES_BYTES)) if path.is_file() else ""
    except (FusecpathError, AttributeError, KeyError, TypeError, ValueError):
        return f"{path} is damaged; score the slides again."


def report_page(project: Project, run_id: str) -> Path | None:
    """Return the page that ``evaluate`` has written of a run, None if there is none."""
    path = project.run(run_id) / "report" / "report.html"
    return path if path.is_file() else None
