"""The tables of a comparison as text for people (Markdown) and for programs (CSV)."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from src_core.training.figures import SKILL, SKILL_NAME

__all__ = ["as_csv", "as_markdown"]

_TITLES = {
    **{SKILL[task]: title for task, title in SKILL_NAME.items()},
    "balanced_accuracy": "balanced accuracy",
    "pearson": "Pearson r",
    "mse": "MSE",
}


def as_markdown(comparison: Mapping[str, Any]) -> str:
    """Return the tables, what they compare, and what could not be compared.

    Parameters
    ----------
    comparison : mapping
        With ``what``, a sentence, ``notes`` and ``tables`` as
        :func:`~src_core.training.contest_figures.measure_contest` gives them.
    """
    lines = [comparison["what"], ""]
    for table in comparison["tables"]:
        lines += [f"## {table['title']}", "", *_table(table), ""]
    lines += [f"* {note}" for note in comparison["notes"]]
    return "\n".join(lines).rstrip() + "\n"


def as_csv(comparison: Mapping[str, Any]) -> str:
    """Return one line for each figure of each row of each table."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", "row", "figure", "mean", "sd", "folds", "difference", "low", "high"])
    for table in comparison["tables"]:
        main = SKILL[table["task"]]
        for row in table["rows"]:
            for name, figure in row["figures"].items():
                apart = row["difference"] if name == main else None
                ends = [(apart or {}).get(key) for key in ("value", "low", "high")]
                folds = " ".join("" if one is None else repr(one) for one in figure["folds"])
                told = [figure["mean"], figure["sd"], folds, *ends]
                writer.writerow([table["name"], row["label"], name, *told])
    return text.getvalue()


def _table(table: Mapping[str, Any]) -> list[str]:
    names = list(table["rows"][0]["figures"])
    main = SKILL[table["task"]]
    heads = [
        table["head"],
        *(f"{_TITLES[name]}, mean ± sd" for name in names),
        f"{_TITLES[main]} less FuseCPath's [95 %]",
        "rate chosen in each fold",
        "minutes",
    ]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for row in table["rows"]:
        cells = [_figure(row["figures"][name]) for name in names]
        lines.append(
            _line([row["label"], *cells, _apart(row), _rates(row["trained"]), _minutes(row)])
        )
    return lines


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _figure(figure: Mapping[str, Any]) -> str:
    if figure["mean"] is None:
        return "none"
    spread = "" if figure["sd"] is None else f" ± {figure['sd']:.3f}"
    lacking = len(figure["folds"]) - figure["n"]
    return f"{figure['mean']:.3f}{spread}" + (f" ({lacking} folds without)" if lacking else "")


def _apart(row: Mapping[str, Any]) -> str:
    apart = row["difference"]
    if apart is None:
        return ""
    if apart["value"] is None:
        return _reason(row) or str(apart["reason"])
    if apart["low"] is None:
        return f"{apart['value']:+.3f} ({apart['reason']})"
    return f"{apart['value']:+.3f} [{apart['low']:+.3f}, {apart['high']:+.3f}]"


def _reason(row: Mapping[str, Any]) -> str:
    """Return why a contender has no scores, if it lacks some."""
    reasons = [str(fold["reason"]) for one in row["trained"] for fold in one["folds"]]
    return next((reason for reason in reasons if reason), "")


def _rates(trained: Sequence[Mapping[str, Any]]) -> str:
    if len(trained) != 1:
        return ""
    rates = [fold["learning_rate"] for fold in trained[0]["folds"]]
    return (
        ", ".join("none" if rate is None else f"{rate:g}" for rate in rates) if any(rates) else ""
    )


def _minutes(row: Mapping[str, Any]) -> str:
    seconds = sum(fold["seconds"] for one in row["trained"] for fold in one["folds"])
    return f"{seconds / 60:.1f}"
