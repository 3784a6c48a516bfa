"""The verb ``agree``: how far reviewers say the same of the patches that both have marked."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, Any

from src_core.config import Config, Help
from src_core.errors import ConfigError, ProjectError
from src_core.pipeline import each_slide
from src_core.progress import Report, Stop
from src_core.project import Project, SlideFolder
from src_core.review.concordance import Concordance, labels_by, measure_concordance
from src_core.verbs.base import (
    ProjectPath,
    Result,
    SlideNames,
    Verb,
    as_lines,
    chosen_slides,
    result_of,
    table_lines,
)

__all__ = ["AGREE"]

_MOST = 10
"""Reviewers that are compared unnamed: each with each makes many pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreeOptions(Config):
    """Settings of ``agree``."""

    project: ProjectPath
    slides: SlideNames = ()
    between: Annotated[
        tuple[str, ...], Help("Reviewers to compare, each with each; all of them if none")
    ] = ()


def _agree(options: AgreeOptions, report: Report, stop: Stop) -> Result:
    project = Project.open(options.project)
    slides = [one for one in chosen_slides(project, options.slides) if one.marks.current()]
    reviewers = _chosen(options.between, slides)
    told: dict[str, dict[str, list[str]]] = {}
    grids: dict[str, str] = {}

    def read(slide: SlideFolder) -> None:
        grid = slide.load_grid()
        grids[slide.slide_id] = grid.grid_id
        told[slide.slide_id] = {name: labels_by(slide.marks, name, grid) for name in reviewers}

    failures = each_slide(slides, read, stop=stop)
    pairs = [_pair(first, second, told) for first, second in combinations(reviewers, 2)]
    return result_of(project, failures, reviewers=list(reviewers), grids=grids, pairs=pairs)


def _chosen(named: tuple[str, ...], slides: list[SlideFolder]) -> tuple[str, ...]:
    """Return the reviewers to compare, of those who have marked these slides."""
    known = tuple(dict.fromkeys(name for slide in slides for name in slide.marks.reviewers()))
    for name in named:
        if known and name not in known:
            raise ConfigError(
                f"{name[:50]!r} has marked none of these slides; choose among {', '.join(known)}."
            )
    chosen = tuple(dict.fromkeys(named)) or known
    if not named and len(known) > _MOST:
        raise ConfigError(
            f"{len(known)} reviewers have marked these slides, more than {_MOST}; name those to "
            "compare."
        )
    if not known or len(chosen) < 2:
        who = f"Only {chosen[0][:50]} is" if chosen and known else "Nobody is"
        raise ProjectError(
            f"{who} there to be compared; two reviewers mark the same patches first, each under "
            "a name of their own."
        )
    return chosen


def _pair(first: str, second: str, told: dict[str, dict[str, list[str]]]) -> dict[str, Any]:
    """Compare two reviewers over all slides, and name the patches that they call differently."""
    ours = [label for labels in told.values() for label in labels[first]]
    theirs = [label for labels in told.values() for label in labels[second]]
    differ = {
        slide_id: [
            row
            for row, (one, other) in enumerate(zip(labels[first], labels[second], strict=True))
            if one and other and one != other
        ]
        for slide_id, labels in told.items()
    }
    found = measure_concordance(ours, theirs)
    return {
        "first": first,
        "second": second,
        **_numbers(found),
        "differ": {slide_id: rows for slide_id, rows in differ.items() if rows},
    }


def _numbers(found: Concordance) -> dict[str, Any]:
    return {
        "n_first": found.n_first,
        "n_second": found.n_second,
        "n_both": found.n_both,
        "n_same": found.n_same,
        "agreement": found.agreement,
        "kappa": found.kappa,
        "labels": [
            {
                "label": one.label,
                "first": one.first,
                "second": one.second,
                "both": one.both,
                "agreement": one.agreement,
            }
            for one in found.labels
        ],
    }


def _describe(result: Result) -> str:
    lines = [line for pair in result["pairs"] for line in _pair_lines(pair)]
    told = ("pairs", "reviewers", "grids")
    rest = {key: value for key, value in result.items() if key not in told}
    return "\n".join([*lines, as_lines(rest)])


def _pair_lines(pair: dict[str, Any]) -> list[str]:
    first, second = pair["first"], pair["second"]
    head = f"{first} ({pair['n_first']} patches) and {second} ({pair['n_second']})"
    if not pair["n_both"]:
        return [f"{head}: no patch is marked by both"]
    kappa = "not defined: one label only" if pair["kappa"] is None else f"{pair['kappa']:z.2f}"
    told = f"{pair['n_both']} marked by both, {100 * pair['agreement']:.1f} % the same label"
    rows = [
        [
            one["label"],
            str(one["first"]),
            str(one["second"]),
            str(one["both"]),
            f"{100 * one['agreement']:.1f} %",
        ]
        for one in pair["labels"]
    ]
    heads = ["label", first, second, "both", "agreement"]
    return [f"{head}: {told}, kappa {kappa}", *table_lines(heads, rows, left=(0,))]


AGREE = Verb(
    "agree",
    "say how far reviewers agree about the patches that they have marked",
    AgreeOptions,
    _agree,
    _describe,
)
