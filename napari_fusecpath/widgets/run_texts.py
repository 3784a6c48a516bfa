"""What a training run has learnt, and what it was worth, from what it has stored."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from napari_fusecpath.widgets.result_texts import score_text
from src_core.cohorts import names_in
from src_core.errors import FusecpathError, ProjectError
from src_core.project import Project
from src_core.provenance import MAX_JSON_BYTES, MAX_SCORES_BYTES, read_json, stat_sign
from src_core.training.figures import SKILL, SKILL_NAME
from src_core.wording import counted

__all__ = ["epochs_of", "report_page", "run_text", "stored_score"]

_MOST_EPOCHS = 10_000
_DAMAGE = (
    AttributeError,
    KeyError,
    OSError,
    OverflowError,
    TypeError,
    ValueError,
    RecursionError,
)
"""What a history that is none comes to."""
_SKILLS = [(key, SKILL_NAME[task]) for task, key in SKILL.items()]


def run_text(project: Project, run_id: str) -> str:
    """Return what a run has learnt, in a few lines."""
    folder = project.run(run_id)
    try:
        asked, metrics = read_json(folder / "config.json"), read_json(folder / "metrics.json")
    except FusecpathError as error:
        return str(error)
    held, trained = (names_in(asked.get(key)) for key in ("held_back", "trained_on"))
    learned = f"learned from {counted(len(trained), 'slide')}, {len(held)} held back"
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
    return [dict(row) for row in _epochs(path, stat_sign(path))]


@lru_cache(maxsize=4)
def _epochs(path: Path, sign: object) -> tuple[dict[str, float], ...]:
    """Read a history; `sign` is that of the file, None if there is none."""
    if sign is None:
        return ()
    try:
        # A pipe would be waited for, and a stranger's file may fill the memory.
        if not path.is_file() or path.stat().st_size > MAX_JSON_BYTES:
            raise ValueError("no file of ours")
        lines = path.read_text(encoding="utf-8").splitlines()[:_MOST_EPOCHS]
        return tuple(_numbers(json.loads(line)) for line in lines)
    except _DAMAGE as error:
        raise ProjectError(f"{path} is damaged.") from error


def _numbers(row: dict[str, object]) -> dict[str, float]:
    found = {key: float(one) for key, one in row.items() if isinstance(one, int | float)}
    if not 0 <= found["epoch"] < _MOST_EPOCHS:
        raise ValueError("no epoch")
    return {"loss": found["loss"], **found}


def _last_epoch(rows: list[dict[str, float]]) -> str:
    if not rows:
        return ""
    row = rows[-1]
    text = f"{counted(len(rows), 'epoch')}, loss {row['loss']:#.3g}"
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
