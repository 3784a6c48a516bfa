from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src_core import RESEARCH_USE
from src_core.inference.export import Panel, prediction_panels, save_figure
from src_core.inference.prediction import Prediction


def make(classes: tuple[str, ...]) -> tuple[Prediction, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    cells = np.array([(c, r) for r in range(6) for c in range(8)], dtype=np.int32)
    n = len(cells)
    prediction = Prediction(
        slide_id="s",
        classes=classes,
        probabilities=np.full(len(classes), 1 / len(classes)),
        logits=np.zeros(len(classes)),
        spread=np.zeros(len(classes)),
        bias=np.zeros(len(classes)),
        attention=rng.random(n).astype(np.float32),
        contributions=rng.normal(size=(n, len(classes))).astype(np.float32),
        patch_probabilities=rng.random((n, len(classes))).astype(np.float32),
        appearances=np.ones(n, dtype=np.float32),
        map_source="local branches",
    )
    return prediction, rng.integers(-1, 5, n).astype(np.int32), cells


def test_the_figure_has_every_map_with_a_bar_that_says_what_it_is(tmp_path: Path) -> None:
    prediction, labels, cells = make(("normal", "cost $5 & $6"))
    panels = prediction_panels(
        prediction,
        labels=labels,
        cells=cells,
        shape_hw=(6, 8),
        stride_um=128.0,
        thumbnail=np.full((60, 80, 3), 200, np.uint8),
        shown_class=1,
    )
    assert [panel.title.split(":")[0] for panel in panels] == [
        "Slide",
        "Clusters",
        "Attention",
        "Contribution to cost $5 & $6",
        "Fused prediction",
    ]
    contribution = panels[3]
    assert contribution.limits is not None
    assert contribution.limits[0] == -contribution.limits[1]
    assert all(panel.bar for panel in panels[2:])
    assert panels[0].um_per_pixel == pytest.approx(12.8)
    path = tmp_path / "figure.png"
    save_figure(path, panels, title="s: $x$", licences=["lite0: Apache-2.0"])
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert picture.shape[1] > 5 * 400
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    assert list(tmp_path.iterdir()) == [path]


def test_more_classes_show_the_weight_in_the_decision() -> None:
    prediction, labels, cells = make(("a", "b", "c"))
    panels = prediction_panels(
        prediction, labels=labels, cells=cells, shape_hw=(6, 8), stride_um=None
    )
    assert panels[-1].title == "Weight in the decision"
    assert all(panel.um_per_pixel is None for panel in panels)


def test_a_map_of_nothing_is_still_a_figure(tmp_path: Path) -> None:
    panels = [Panel(title="none", values=np.full((3, 3), np.nan), bar="x", um_per_pixel=1.0)]
    save_figure(tmp_path / "f.svg", panels)
    assert RESEARCH_USE in (tmp_path / "f.svg").read_text()  # as the picture's comment
    with pytest.raises(ValueError, match="at least one"):
        save_figure(tmp_path / "g.png", [])


def test_exporting_loads_neither_pyplot_nor_qt(tmp_path: Path) -> None:
    code = f"""
import sys, numpy as np
from pathlib import Path
from src_core.inference.export import Panel, save_figure
save_figure(Path({str(tmp_path)!r}) / "f.png", [Panel(title="t", values=np.zeros((2, 2)), bar="b")])
loaded = [m for m in ("matplotlib.pyplot", "PyQt6", "qtpy", "torch") if m in sys.modules]
sys.exit(", ".join(loaded) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
