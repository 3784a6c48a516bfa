"""The table of the clusters and the plot of their numbers, without a viewer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QColor, QIcon

from napari_fusecpath.widgets.cluster_table import ClusterTable, rows_of
from napari_fusecpath.widgets.sweep_plot import SweepPlot, row_words
from napari_fusecpath.widgets.tables import colour_icon
from src_core.clustering.agreement import summarise
from src_core.clustering.legend import Legend
from src_core.clustering.tables import SweepRow

NAME, SIZE, SHARE, AGREEMENT, SHOWN, COLOR = range(6)
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 3, -1], np.int32)
AGREE = np.array([1, 1, 1, 1, 0, 0, 0, 1, 0, 1, 0], np.float32)[:, None]


def is_like(seen: QColor, rgb: tuple[int, int, int]) -> bool:
    """Tell whether a colour was drawn, as far as screens of 16 bits have it."""
    drawn = (seen.red(), seen.green(), seen.blue())
    return all(abs(one - other) <= 8 for one, other in zip(drawn, rgb, strict=True))


def test_merged_clusters_are_counted_as_one() -> None:
    rows = rows_of(summarise(LABELS, AGREE, 5), Legend(n_clusters=5).merged([4, 3, 1]))
    assert [(row.number, row.members, row.size) for row in rows] == [
        (0, (0,), 4),
        (1, (1, 3, 4), 4),
        (2, (2,), 2),
    ]
    assert rows[1].share == pytest.approx(4 / 11)
    assert rows[1].agreement == pytest.approx(1 / 4), "the mean over its patches"
    single = rows_of(summarise(LABELS, AGREE, 5), Legend(n_clusters=5))
    assert np.isnan(single[4].agreement), "of no patch there is none"
    unknown = summarise(LABELS, np.ones((len(LABELS), 0), np.float32), 5)
    assert all(np.isnan(row.agreement) for row in rows_of(unknown, Legend(n_clusters=5)))


def test_the_agreement_of_merged_clusters_says_what_it_is(qtbot: Any) -> None:
    table = ClusterTable()
    qtbot.addWidget(table)
    rows = rows_of(summarise(LABELS, AGREE, 5), Legend(n_clusters=5).merged([1, 3]))
    table.show_clusters(rows, hidden=())
    tips = [table.item(place, AGREEMENT).toolTip() for place in (0, 1)]  # type: ignore[union-attr]
    assert tips == ["100%", "25%: of each merged cluster as it was found, on average"]


def test_a_heading_sorts_by_what_its_column_means(qtbot: Any) -> None:
    table = ClusterTable()
    qtbot.addWidget(table)
    labels = np.repeat(np.arange(12, dtype=np.int32), np.arange(12, 0, -1))
    legend = Legend(n_clusters=12).renamed(7, "Stroma").renamed(3, "gland")
    summary = summarise(labels, np.ones((len(labels), 0), np.float32), 12)
    table.show_clusters(rows_of(summary, legend), hidden=())
    table.choose(11)

    def sorted_by(column: int) -> list[int]:
        table.horizontalHeader().sectionClicked.emit(column)  # type: ignore[union-attr]
        return [row.number for row in table.rows]

    assert sorted_by(SIZE) == list(range(12)), "12 patches come before 9"
    assert sorted_by(SIZE) == list(range(11, -1, -1))
    assert table.item(0, SIZE).text() == "1"  # type: ignore[union-attr]
    assert table.chosen == [11], "by its number, wherever it is"
    assert table.selectedIndexes()[0].row() == 0
    rest = [number for number in range(12) if number not in (3, 7)]
    assert sorted_by(NAME) == [3, 7, *rest]
    heads = [table.horizontalHeaderItem(at).text() for at in range(6)]  # type: ignore[union-attr]
    assert heads == ["Cluster ▴", "Patches", "Share", "Agree", "", ""]
    assert sorted_by(NAME) == [*rest[::-1], 7, 3], "the other way round, without a name too"
    assert sorted_by(COLOR) == list(range(12))


def test_the_space_bar_asks_once_for_all_chosen_rows(qtbot: Any) -> None:
    table, asked = ClusterTable(), list[list[int]]()
    qtbot.addWidget(table)
    table.show_clusters(rows_of(summarise(LABELS, AGREE, 5), Legend(n_clusters=5)), hidden=())
    table.show_toggled.connect(asked.append)
    table.choose(1, 3)
    qtbot.keyClick(table, Qt.Key.Key_Space)
    assert asked == [[1, 3]]


def test_a_chosen_row_shows_its_colour_as_it_is(qtbot: Any) -> None:
    icon = colour_icon((1.0, 0.5, 0.0))
    for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected):
        seen = icon.pixmap(14, 14, mode).toImage().pixelColor(7, 7)
        assert is_like(seen, (255, 128, 0)), mode


def test_a_click_on_the_plot_chooses_the_nearest_number(qtbot: Any) -> None:
    plot, chosen = SweepPlot(), list[int]()
    qtbot.addWidget(plot)
    plot.resize(300, 150)
    plot.chosen.connect(chosen.append)
    rows = [
        SweepRow(k=k, n_clusters=k, silhouette=sc, calinski_harabasz=ch, seconds=1.0)
        for k, sc, ch in ((60, 0.154, 793.1), (30, 0.074, None), (40, None, 717.5))
    ]
    qtbot.mouseClick(plot, Qt.MouseButton.LeftButton, pos=QPoint(50, 50))
    plot.grab()
    assert chosen == [], "there is nothing to choose"
    plot.show_rows(rows)
    for k in (30, 40, 60):
        at = QPoint(round(plot.x_of(k)), 80)
        qtbot.mouseClick(plot, Qt.MouseButton.LeftButton, pos=at)
    qtbot.keyClick(plot, Qt.Key.Key_Left)
    qtbot.keyClick(plot, Qt.Key.Key_Left)
    qtbot.keyClick(plot, Qt.Key.Key_Right)
    assert chosen == [30, 40, 60, 40, 30, 40]
    assert row_words(plot.rows[1]) == "40 clusters: SC not defined, CH 717.5"
    picture = plot.grab().toImage()
    x, colors = round(plot.x_of(60)), [(230, 159, 0), (168, 73, 0)]
    high, low = ([picture.pixelColor(x, y) for y in ys] for ys in (range(20, 60), range(95, 125)))
    assert any(is_like(one, rgb) for one in high for rgb in colors), "the largest index is on top"
    assert not any(is_like(one, rgb) for one in low for rgb in colors)
    plot.show_rows(rows[:1])
    plot.grab()
    assert plot.x_of(60) == 150
