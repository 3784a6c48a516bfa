"""The picture of a sweep: both indices against the number of clusters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from src_core.clustering.tables import INDICES, SweepRow, best_rows
from src_core.provenance import write_atomically

__all__ = ["save_sweep_plot"]

_NAMES = {"silhouette": "silhouette coefficient", "calinski_harabasz": "Calinski-Harabasz index"}


def save_sweep_plot(path: Path, rows: Sequence[SweepRow], *, title: str) -> None:
    """Write a picture (PNG) of a sweep; the number that each index prefers is ringed and named.

    Raises
    ------
    ProjectError
        If the file cannot be written.
    """
    # The object interface: pyplot keeps figures in global state and picks a window toolkit.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    best = best_rows(rows)
    for axes, index in zip(figure.subplots(2, sharex=True), INDICES, strict=True):
        values = [getattr(row, index) for row in rows]
        drawn = [float("nan") if value is None else value for value in values]
        axes.plot([row.k for row in rows], drawn, "o-", color="0.35", markersize=4)
        axes.set_ylabel(_NAMES[index])
        axes.grid(color="0.9")
        if index in best:
            k, value = best[index].k, getattr(best[index], index)
            axes.plot([k], [value], "o", color="C3", markersize=11, fillstyle="none")
            axes.set_title(f"highest at K = {k}", fontsize=9, color="C3", loc="right")
    axes.set_xlabel("clusters (K)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(title, fontsize=11, parse_math=False)  # names may hold dollars
    write_atomically(path, lambda stream: figure.savefig(stream, format="png", dpi=150))
