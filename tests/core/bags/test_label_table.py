from __future__ import annotations

from pathlib import Path

import pytest

from src_core.bags.cohort import read_labels
from src_core.errors import ProjectError


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_everything_but_the_path_has_a_default(tmp_path: Path) -> None:
    table = read_labels(write(tmp_path, "path,tumour\nin/a.svs,yes\n/far/b.tiff,no\n"))
    first, second = table.rows
    assert (first.slide_id, first.patient_id) == ("a", "a")
    assert first.path == tmp_path / "in" / "a.svs"
    assert second.path == Path("/far/b.tiff")
    assert table.targets == ("tumour",)
    assert table.classes("tumour") == ("no", "yes")
    assert [(row.slide_id, c) for row, c in table.labelled("tumour")] == [("a", 1), ("b", 0)]


def test_a_byte_order_mark_semicolons_and_blank_lines_are_read(tmp_path: Path) -> None:
    text = "\ufeffslide_id;path;patient_id;grade\r\nx;a.svs;p;1\r\n\r\n;;;\r\ny;b.svs;p;2\r\n"
    table = read_labels(write(tmp_path, text))
    assert [(row.slide_id, row.patient_id, row.line) for row in table.rows] == [
        ("x", "p", 2),
        ("y", "p", 5),
    ]


def test_an_empty_label_leaves_the_slide_out(tmp_path: Path) -> None:
    table = read_labels(write(tmp_path, "path,t\na.svs,yes\nb.svs,\nc.svs,no\n"))
    assert [row.slide_id for row, _ in table.labelled("t")] == ["a", "c"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("path,t\n", "no slide"),
        ("file,t\na,b\n", "line 1: no column 'path'"),
        ("path,t,t\na,b,c\n", "line 1: two columns are called 't'"),
        ("path,\na,b\n", "line 1: a column has no name"),
        ("path,t\na,b\nc\n", "line 3: 1 values for 2 columns"),
        ("path,t\n,b\n", "line 2: path is empty"),
        ("slide_id,path,t\ns,a,b\nS,c,b\n", "line 3: slide_id 'S' stands in line 2"),
        ("slide_id,path,t\ns,a,b\nu,a,b\n", "line 3: a stands in line 2"),
        ("slide_id,path,t\n../../etc,a,b\n", "line 2: slide_id '../../etc' cannot name a folder"),
        ("slide_id,path,t\nNUL.x,a,b\n", "line 2: slide_id"),
        ("slide_id,path,t\n" + "x" * 200 + ",a,b\n", "line 2: slide_id"),
        ("path,mpp\na,40\n", "line 2: mpp is '40'; give micrometres per pixel from 0.05 to 5"),
        ("path,t\na,=HYPERLINK(1)\n", "line 2: '=HYPERLINK(1)' is a spreadsheet formula"),
        ("path,t\na,-2+3+cmd|' /C calc'!A0\n", "formula"),
        ("path,t\na,b\nc,@SUM(1)\n", "line 3"),
        ("path,t\na," + "b" * 5000 + "\n", "line 2: a value is longer"),
        ("path,t\na," + "b" * 200_000 + "\n", "line 2: not a readable table"),
        ('path,t\na,"b\n', "not a readable table"),
        ("path," + ",".join(map(str, range(2000))) + "\na\n", "more than 1000 columns"),
        ("slide_id,path,t\ns,x.svs,b\nu,far/../x.svs,b\n", "line 3: x.svs stands in line 2"),
        ("path,patient_id\na,P1\nb,p1\n", "line 3: patient_id is 'p1', but 'P1' in line 2"),
        ("path,patient_id\na,P 1\nb,P  1\n", "write one patient one way"),
        ("path,patient_id\na,Jos\u00e9\nb,Jose\u0301\n", "write one patient one way"),
        ("path,patient_id\na,P1\nb,P1\u200b\n", "write one patient one way"),
        ("path,patient_id\na,P1\nb,NA\n", "line 3: patient_id is 'NA', and all such slides"),
        (b"path,t\na,\0\n", "line 2: not text"),
        (b"path,t\na,b\nc,\xff\n", "line 3: not UTF-8"),
    ],
)
def test_a_doubtful_table_is_refused_in_one_sentence(
    tmp_path: Path, text: str | bytes, said: str
) -> None:
    with pytest.raises(ProjectError) as caught:
        read_labels(write(tmp_path, text))
    sentence = str(caught.value)
    assert said in sentence
    assert "labels.csv" in sentence
    assert len(sentence) < 500


def test_signs_and_negative_numbers_are_labels(tmp_path: Path) -> None:
    table = read_labels(write(tmp_path, "path,her2,score\na,+,-1.5\nb,-,+2\n"))
    assert table.classes("her2") == ("+", "-")


def test_a_missing_and_a_huge_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="cannot be read"):
        read_labels(tmp_path / "none.csv")
    with pytest.raises(ProjectError, match="cannot be read"):
        read_labels(tmp_path)
    huge = tmp_path / "huge.csv"
    with huge.open("wb") as stream:
        stream.truncate(2**30)  # sparse: refused before it is read
    with pytest.raises(ProjectError, match="too large"):
        read_labels(huge)


def test_an_unknown_label_names_its_line(tmp_path: Path) -> None:
    table = read_labels(write(tmp_path, "path,t\na,yes\nb,no\nc,maybe\n"))
    with pytest.raises(ProjectError, match=r"line 4: t is 'maybe'.*no, yes"):
        table.labelled("t", classes=("no", "yes"))
    with pytest.raises(ProjectError, match="no target column 'grade'; it has t"):
        table.labelled("grade")
    with pytest.raises(ProjectError, match="1 different labels"):
        read_labels(write(tmp_path, "path,t\na,yes\n")).classes("t")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("LUAD,LUSC,luad", "line 4: t is 'luad', but 'LUAD' in line 2"),
        ("1,0,1.0", "line 4: t is '1.0', but '1' in line 2"),
        ("a,b,NA", "line 4: t is 'NA', which would be a class of its own"),
        ("a,n/a,b", "line 3: t is 'n/a'"),
        ("a,nan,b", "line 3: t is 'nan'"),
        ("a,b\u200bc,bc", "line 3: t is 'b\\u200bc', which holds what cannot be seen"),
    ],
)
def test_what_would_be_a_class_by_its_spelling_alone_is_refused(
    tmp_path: Path, labels: str, said: str
) -> None:
    rows = [f"{place}.svs,{label}" for place, label in enumerate(labels.split(","))]
    table = read_labels(write(tmp_path, "\n".join(["path,t", *rows, ""])))
    with pytest.raises(ProjectError) as caught:
        table.classes("t")
    assert said in str(caught.value)


def test_spaces_that_do_not_break_are_spaces_and_numbers_may_name_classes(tmp_path: Path) -> None:
    text = "path,patient_id,t\na,P1\u00a0,10\nb,\u00a0P1,2\nc,P2,\u00a0\n"
    table = read_labels(write(tmp_path, text))
    assert [row.patient_id for row in table.rows] == ["P1", "P1", "P2"]
    assert table.classes("t") == ("10", "2")
