"""What a table's columns mean for each task, and what is doubted in them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from src_core.bags.label_table import LabelTable, read_labels
from src_core.bags.targets import LOG_HAZARD, Target, read_targets
from src_core.errors import ConfigError, ProjectError


@pytest.fixture
def table(tmp_path: Path) -> Any:
    def write(*lines: str) -> LabelTable:
        path = tmp_path / "labels.csv"
        path.write_text("\n".join(lines), encoding="utf-8")
        return read_labels(path)

    return write


GENES = Target(("TP53", "EGFR"), "regression")
SURVIVAL = Target(("months", "event"), "survival")


def test_a_slide_without_some_values_keeps_the_others_and_one_without_any_is_left_out(
    table: Any,
) -> None:
    found = read_targets(table("path,TP53,EGFR", "a,1.5,-2e1", "b,,3", "c,,", "d,+.5,0"), GENES)
    assert [one.row.slide_id for one in found] == ["a", "b", "d"]
    assert found[0].values == (1.5, -20.0)
    assert math.isnan(found[1].values[0])
    assert found[1].values[1] == 3.0
    assert {one.target for one in found} == {-1}


@pytest.mark.parametrize(
    "cell", ["nan", "inf", "NA", "1e999", "1e31", "0x10", "1_000", "high", "٣"]
)
def test_what_is_no_finite_number_is_refused_with_its_line(table: Any, cell: str) -> None:
    with pytest.raises(ProjectError, match=r"labels.csv, line 3: TP53 is .*decimal point"):
        read_targets(table("path,TP53,EGFR", "a,1,2", f"b,{cell},1"), GENES)


def test_a_decimal_comma_is_refused_for_it_may_part_thousands(table: Any) -> None:
    with pytest.raises(ProjectError, match="line 2: TP53 is '1,234'"):
        read_targets(table("path;TP53;EGFR", "a;1,234;2"), GENES)


@pytest.mark.parametrize(
    ("cell", "happened"),
    [("1", 1), ("0", 0), ("TRUE", 1), ("Alive", 0), ("dead", 1), ("1.0", 1),
     ("1:DECEASED", 1), ("0:LIVING", 0), ("1:Recurred", 1), ("censored", 0)],
)  # fmt: skip
def test_events_are_read_where_they_can_be_nothing_else(
    table: Any, cell: str, happened: int
) -> None:
    (one,) = read_targets(table("path,months,event", f"a,12.5,{cell}"), SURVIVAL)
    assert one.values == (12.5, happened)


@pytest.mark.parametrize("cell", ["2", "yes", "no", "1:LIVING", "0:dead", "unknown", "dead?", ":1"])
def test_events_that_may_mean_either_are_refused(table: Any, cell: str) -> None:
    with pytest.raises(ProjectError, match=r"line 2: event is .*give 1 for an event"):
        read_targets(table("path,months,event", f"a,12.5,{cell}"), SURVIVAL)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("0,1", "time above 0"),
        ("-3,1", "time above 0"),
        ("soon,1", "decimal point"),
        ("5,", "only one is given"),
        (",0", "only one is given"),
    ],
)
def test_a_time_must_lie_ahead_and_come_with_its_event(table: Any, row: str, said: str) -> None:
    with pytest.raises(ProjectError, match=f"line 2: .*{said}"):
        read_targets(table("path,months,event", f"a,{row}"), SURVIVAL)


def test_slides_of_a_patient_share_what_one_of_them_says(table: Any) -> None:
    rows = ("path,patient_id,months,event", "a,p,12,", "b,p,,1", "c,p,12.0,", "d,q,3,0", "e,r,,")
    found = read_targets(table(*rows), SURVIVAL)
    assert [(one.row.slide_id, one.values) for one in found] == [
        ("a", (12, 1)), ("b", (12, 1)), ("c", (12, 1)), ("d", (3, 0)),
    ]  # fmt: skip


def test_slides_of_a_patient_that_contradict_one_another_are_refused(table: Any) -> None:
    read = table("path,patient_id,grade", "a,p,1", "b,q,2", "c,p,", "d,p,3")
    with pytest.raises(
        ProjectError, match=r"line 5: grade is '3', but line 2 says '1'.*patient, p"
    ):
        read_targets(read, Target(("grade",), per="patient"))
    each = read_targets(read, Target(("grade",)))
    assert [(one.row.slide_id, one.target) for one in each] == [("a", 0), ("b", 1), ("d", 2)]
    inherited = read_targets(
        table("path,patient_id,grade", "a,p,1", "b,q,2", "c,p,"), Target(("grade",), per="patient")
    )
    assert [(one.row.slide_id, one.target) for one in inherited] == [("a", 0), ("b", 1), ("c", 0)]


def test_a_task_names_its_outputs(table: Any) -> None:
    read = table("path,months,event", "a,1,yes", "b,2,no")
    assert Target(("event",)).outputs(read) == ("no", "yes")
    assert GENES.outputs(read) == ("TP53", "EGFR")
    assert SURVIVAL.outputs(read) == (LOG_HAZARD,)
    assert (SURVIVAL.level, GENES.level, SURVIVAL.name) == ("patient", "slide", "months, event")


@pytest.mark.parametrize(
    ("columns", "options", "said"),
    [
        (("a", "b"), {}, "classification reads one column"),
        ((), {"task": "regression"}, "one or more different columns"),
        (("a", "a"), {"task": "regression"}, "one or more different columns"),
        (("a",), {"task": "survival"}, "two columns, time and event"),
        (("a", "a"), {"task": "survival"}, "two columns, time and event"),
        (("a", "b"), {"task": "survival", "per": "slide"}, "never a slide's"),
    ],
)
def test_columns_that_a_task_cannot_read_are_refused(
    columns: tuple[str, ...], options: Any, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        Target(columns, **options)


def test_a_missing_column_is_a_sentence(table: Any) -> None:
    with pytest.raises(ProjectError, match="no target column 'EGFR'; it has TP53"):
        read_targets(table("path,TP53", "a,1"), GENES)
