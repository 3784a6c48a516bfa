"""The report as one page: no scripts, nothing from elsewhere, readable on paper."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias
from xml.etree.ElementTree import Element

import numpy as np

from src_core import RESEARCH_USE
from src_core.models.operating_point import INDETERMINATE
from src_core.reports.calling import calling_rule
from src_core.reports.cautions import cautions
from src_core.reports.class_plots import class_plots
from src_core.reports.elements import add, listed, new_page, picture, table, to_text
from src_core.reports.figures import Figure, SetFigures
from src_core.reports.scored import ScoredSlides
from src_core.reports.style import STYLE
from src_core.reports.survival_plots import survival_plots
from src_core.reports.tables import confusion, counts, counts_by_kind
from src_core.reports.value_plots import value_plots
from src_core.reports.worst import most_wrong
from src_core.training.bootstrap import Interval
from src_core.types import Json

__all__ = ["Pictures", "report_page"]

Pictures: TypeAlias = Callable[[str, str, int | None], bytes | None]
"""Set, slide id, output -> PNG of the slide's maps, for that output if one is named; None where
there is none."""

_MOST_FIGURES = 60
_MOST_TARGETS = 60
_MOST_CLASSES = 20
_MOST_IN_MATRIX = 12
_MOST_WITH_SHARES = 6
_MOST_FOLD_COLUMNS = 4
_MOST_MEMBERS = 3
_MOST_NAMED = 20
_MOST_IN_TITLE = 4
_MOST_BYTES = 9_000_000
"""Of all maps, 12 MB on the page: it must open in any browser, and go through the post."""

_LONGEST = 2000


def report_page(
    scored: ScoredSlides, measured: Sequence[SetFigures], *, pictures: Pictures | None = None
) -> str:
    """Return the page's HTML.

    Parameters
    ----------
    scored : ScoredSlides
    measured : sequence of SetFigures
        Of the same slides.
    pictures : callable, optional
        Asked for the maps of the slides that the model got most wrong; see `Pictures`.
    """
    maps = None if pictures is None else _within(_MOST_BYTES, pictures)
    title = f"Evaluation: {_title(scored)}"
    page, body = new_page(title, STYLE)
    top = add(body, "header")
    add(top, "h1", title)
    add(top, "p", RESEARCH_USE, class_="use")
    add(top, "p", _introduction(scored))
    listed(top, scored.notes, class_="notes")
    links = add(add(top, "nav"), "ul")
    main = add(body, "main")
    for number, one in enumerate(measured):
        add(add(links, "li"), "a", _heading(one.name), href=f"#set-{number}")
        section = add(main, "section", id=f"set-{number}")
        _add_set(section, one, scored, maps)
    add(add(links, "li"), "a", "How it was made", href="#made")
    _add_made(add(main, "section", id="made"), scored)
    return to_text(page)


def _title(scored: ScoredSlides) -> str:
    """Return what is evaluated; of many targets the first, for all stand below."""
    rest = len(scored.outputs) - _MOST_IN_TITLE
    if scored.task != "regression" or rest <= 0:
        return scored.target_name
    return f"{', '.join(scored.outputs[:_MOST_IN_TITLE])} and {rest} more"


def _introduction(scored: ScoredSlides) -> str:
    what = {
        "classification": f"Classification into {', '.join(scored.outputs[:_MOST_CLASSES])}",
        "regression": f"Regression of {', '.join(scored.outputs[:_MOST_CLASSES])}",
        "survival": "Survival: a higher risk means an earlier event",
    }[scored.task]
    more = " ..." if len(scored.outputs) > _MOST_CLASSES else ""
    per = "patient, the mean over its slides" if scored.level == "patient" else "slide"
    model = "models" if len(scored.fold_numbers) else "model"
    return (
        f"{what}{more}. Every figure is per {per}. In brackets: 95 % percentile intervals by "
        "drawing patients with replacement; they speak of other patients like these scored by the "
        f"same {model}, not of other hospitals, scanners or trainings."
    )


def _heading(name: str) -> str:
    known = {
        "inner": "Inner split (the training was stopped by it: too good)",
        "cross-validation": "Cross-validation",
        "test": "Test set, kept back",
        "external": "External test set",
    }
    return known.get(name, name)


def _add_set(
    section: Element, one: SetFigures, scored: ScoredSlides, pictures: Pictures | None
) -> None:
    add(section, "h2", _heading(one.name))
    add(section, "p", _counted(one.scored))
    listed(section, cautions(one, scored), class_="caution")
    _add_figures(section, one)
    _add_targets(section, one)
    if len(one.folds):
        _add_folds(section, one)
    if scored.task == "classification":
        _add_confusion(section, one.scored)
    plots = {
        "classification": lambda: class_plots(one),
        "regression": lambda: value_plots(one.scored),
        "survival": lambda: survival_plots(one.scored),
    }[scored.task]()
    for plot in plots:
        picture(section, plot.png, caption=plot.caption, alt=plot.alt, width=plot.width)
    _add_wrong(section, one.scored, pictures)


def _counted(scored: ScoredSlides) -> str:
    whole = counts(scored)
    start = f"{whole['slides']} slides of {whole['patients']} patients"
    if scored.task == "regression":
        return f"{start}."
    of = "" if scored.level == "slide" else " patients:"
    parts = [f"{n} {name}" for name, n in counts_by_kind(scored).items()]
    return f"{start};{of} {', '.join(parts)}."


def _add_figures(section: Element, one: SetFigures) -> None:
    folds = bool(len(one.folds))
    whole = _of_whole(one)
    shown = whole[:_MOST_FIGURES]
    rows = [
        [
            figure.title,
            *_told(figure.interval),
            *([*_sd(figure), *_told(figure.pooled)] if folds else []),
            figure.reason,
        ]
        for figure in shown
    ]
    together = ["sd over folds", "all folds together", "95 % interval"] if folds else []
    header = ["", "mean over folds" if folds else "value", "95 % interval", *together, "remark"]
    header, rows = _without_empty_remarks(header, rows)
    drawn = max((figure.interval.n_resamples for figure in one.figures), default=0)
    caption = f"Figures, with intervals over {drawn} resamples."
    if folds:
        caption += (
            f" All folds together: of every {one.scored.level} at once, each scored by the model "
            "that had not seen it; not for figures that rank scores, for the scores of different "
            "models have different zeros."
        )
    table(section, caption + _rest(len(whole) - len(shown)), header, rows)


def _add_targets(section: Element, one: SetFigures) -> None:
    """Append, of several targets, a line each with what is measured of it alone."""
    n_targets, shown = len(one.scored.outputs), one.scored.outputs[:_MOST_TARGETS]
    own: dict[int, list[Figure]] = {}
    for figure in one.figures:
        if figure.output is not None:
            own.setdefault(figure.output, []).append(figure)
    if not own:
        return
    rows = []
    for column, name in enumerate(shown):
        told = [cell for figure in own[column] for cell in _told(figure.interval)]
        reasons = dict.fromkeys(figure.reason for figure in own[column] if figure.reason)
        rows.append([name, *told, "; ".join(reasons)])
    names = [figure.title.partition(":")[0] for figure in own[0]]
    header = ["target", *(cell for name in names for cell in (name, "95 % interval")), "remark"]
    mean = ", mean over folds" if len(one.folds) else ""
    caption = f"By target{mean}: the error is in the square of the target's unit."
    caption += _rest(n_targets - len(shown))
    table(section, caption, *_without_empty_remarks(header, rows))


def _of_whole(one: SetFigures) -> list[Figure]:
    return [figure for figure in one.figures if figure.output is None]


def _without_empty_remarks(
    header: list[str], rows: list[list[str]]
) -> tuple[list[str], list[list[str]]]:
    if any(row[-1] for row in rows):
        return header, rows
    return header[:-1], [row[:-1] for row in rows]


def _rest(more: int) -> str:
    return f" {more} more are in the JSON file beside this page." if more else ""


def _add_folds(section: Element, one: SetFigures) -> None:
    shown = _of_whole(one)[:_MOST_FOLD_COLUMNS]
    rows = []
    for place, fold in enumerate(one.folds):
        part = one.scored.rows(np.flatnonzero(one.scored.folds == fold))
        rows.append(
            [
                str(fold + 1),
                *(str(n) for n in _sizes(part)),
                *(_number(figure.by_fold[place].value) for figure in shown),
            ]
        )
    sizes = ["patients"] if one.scored.members else ["slides", "patients"]
    header = ["fold", *sizes, *(figure.title for figure in shown)]
    caption = (
        "By fold: each was scored by the model that had not seen it. Folds share most of their "
        "training slides, so their standard deviation is no standard error."
    )
    table(section, caption, header, rows)


def _sizes(part: ScoredSlides) -> tuple[int, ...]:
    return (len(part),) if part.members else (len(part), len({*part.patients}))


def _add_confusion(section: Element, scored: ScoredSlides) -> None:
    names = scored.outputs
    if len(names) > _MOST_IN_MATRIX:
        add(section, "p", f"The confusion of {len(names)} classes is in the JSON file.")
        return
    matrix = confusion(scored)
    silent = [INDETERMINATE] if scored.has_band else []
    header = ["true \\ called", *names, *silent, "all"]
    few = len(names) <= _MOST_WITH_SHARES
    what = "number and share of the row" if few else "number; the darker, the larger its share"
    apart = ", the indeterminate included" if silent and few else ""
    caption = f"Confusion, {calling_rule(scored)}: {what}{apart}."
    body = table(section, caption, header, [], class_="matrix")
    for name, row in zip(names, matrix, strict=True):
        line = add(body, "tr")
        add(line, "th", name, scope="row")
        total = int(row.sum())
        for n in row[: len(names) + len(silent)]:
            share = n / total if total else 0.0
            text = f"{n} ({100 * share:.0f} %)" if total and few else str(n)
            add(line, "td", text, style=f"background: rgba(0, 114, 178, {0.45 * share:.2f})")
        add(line, "td", str(total))


def _add_wrong(section: Element, scored: ScoredSlides, pictures: Pictures | None) -> None:
    add(section, "h3", f"The {scored.level}s it got most wrong")
    wrong = most_wrong(scored)
    if not wrong:
        add(section, "p", f"No {scored.level} is wrong.")
        return
    rows = [[scored.slide_ids[one.row], _other(scored, one.row), one.words] for one in wrong]
    other = "slides" if scored.members else "patient"
    table(section, "The worst first.", [scored.level, other, ""], rows)
    if pictures is None:
        return
    without = []
    for one in wrong:
        ids = scored.members[one.row] if scored.members else (scored.slide_ids[one.row],)
        for slide_id in ids[:_MOST_MEMBERS]:
            png = pictures(scored.sets[one.row], slide_id, one.output)
            if png is None:
                without.append(slide_id)
                continue
            words = f"Slide {slide_id}: {one.words}."
            picture(section, png, caption=words, alt=f"Maps of slide {slide_id}.")
        without += ids[_MOST_MEMBERS:]
    if without:
        more = " ..." if len(without) > _MOST_NAMED else ""
        names = ", ".join(without[:_MOST_NAMED]) + more
        add(section, "p", f"Maps of {len(without)} of these slides are not shown: {names}")


def _other(scored: ScoredSlides, row: int) -> str:
    """Return the patient of a slide, or the slides of a patient."""
    if not scored.members:
        return scored.patients[row]
    members = scored.members[row]
    return ", ".join(members[:_MOST_NAMED]) + (" ..." if len(members) > _MOST_NAMED else "")


def _within(most_bytes: int, pictures: Pictures) -> Pictures:
    """Give the pictures as long as all that were given are together no larger."""
    room = most_bytes

    def picture_if_small(name: str, slide_id: str, output: int | None) -> bytes | None:
        nonlocal room
        png = pictures(name, slide_id, output) if room > 0 else None
        room -= len(png or b"")
        return png if room >= 0 else None

    return picture_if_small


def _add_made(section: Element, scored: ScoredSlides) -> None:
    add(section, "h2", "How it was made")
    rows = [[name, value] for name, value in _flat(scored.provenance)]
    if rows:
        table(section, "Run, settings, seeds, versions and splits.", ["", ""], rows)
    if scored.licences:
        table(
            section,
            "Licences of the encoders' weights: they hold for what was made with them.",
            ["encoder", "licence"],
            [[name, licence] for name, licence in scored.licences.items()],
        )
    add(section, "p", RESEARCH_USE, class_="use")


def _flat(values: Mapping[str, Json], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield the values of nested mappings under names joined by dots."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            cut = f"{text[:_LONGEST]} ... (all in the JSON file)" if len(text) > _LONGEST else text
            yield f"{above}{name}", cut


def _sd(figure: Figure) -> list[str]:
    known = [metric.value for metric in figure.by_fold if metric.value is not None]
    return [_number(float(np.std(known, ddof=1)) if len(known) > 1 else None)]


def _told(interval: Interval | None) -> tuple[str, str]:
    """Return a figure and its interval."""
    if interval is None:
        return "-", "-"
    low, high = interval.low, interval.high
    ends = "-" if low is None or high is None else f"({_number(low)} to {_number(high)})"
    return _number(interval.value), ends


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if 0.001 <= abs(value) < 100 or value == 0 else f"{value:.3g}"
