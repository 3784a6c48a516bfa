"""Do what docs/tutorial.md tells in a real window, and draw its pictures.

    python docs/scripts/tutorial_pictures.py [--size 1920x1080] [--theme light] [--out FOLDER]

The slides are those of ``fusecpath demo``, drawn anew; nothing outside of a temporary folder and
`out` changes. Without a screen: ``xvfb-run -a -s "-screen 0 1920x1200x24 +extension GLX"``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from camera import IMAGES, Camera
from qtpy.QtCore import Qt

from napari_fusecpath.widgets.gallery import GalleryPanel
from src_core.provenance import read_json
from src_core.slides.synthetic import write_sample_cohort

SLIDE = "synthetic-02"


def open_and_prepare(camera: Camera) -> None:
    """Look at the slide, then find tissue and patches."""
    camera.turn("prepare")
    camera.shoot("1-open")
    camera.dock.panels["prepare"].main.click()
    camera.wait()
    camera.shoot("2-prepare")


def embed_and_cluster(camera: Camera) -> None:
    """Embed by what comes along; clusters follow."""
    embed: Any = camera.turn("embed")
    camera.shoot("3-embed")
    cluster: Any = camera.dock.panels["cluster"]
    cluster.form.set_values({"n_clusters": 8})
    embed.main.click()
    camera.wait()
    camera.shoot("4-cluster")


def inspect_and_exclude(camera: Camera) -> None:
    """Look at a cluster in the legend and at its patches, and exclude two of them."""
    cluster: Any = camera.turn("cluster")
    cluster.table.selectRow(1)
    camera.rest()
    rows = camera.dock.session.selected[:2]
    cluster.scatter.click()
    camera.rest(3000)
    camera.shoot("5-scatter")
    cluster.gallery.click()
    camera.rest()
    sources = camera.find(GalleryPanel).sources
    sources.setCurrentIndex(sources.findText("Selected", Qt.MatchFlag.MatchStartsWith))
    sources.activated.emit(sources.currentIndex())
    camera.rest(5000)
    camera.shoot("6-gallery")
    camera.dock.session.workbench.selected = tuple(rows.tolist())
    camera.rest()
    cluster.editor.exclude.click()
    camera.rest()
    camera.close_bottom()


def train(camera: Camera, table: Path) -> None:
    """Bring the table, prepare the other slides, and learn."""
    panel: Any = camera.turn("train")
    camera.dock.session.import_labels(table)
    camera.rest()
    for _ in ("prepare the others", "train"):
        panel.main.click()
        camera.wait()
    camera.dock.stack.currentWidget().verticalScrollBar().setValue(10_000)
    camera.shoot("7-train")


def predict(camera: Camera) -> None:
    """Predict a slide with a nodule that the model has learned from."""
    project = camera.dock.session.require_project()
    learned = read_json(project.run("run-0001") / "config.json")["trained_on"]
    labels = {row.slide_id: row.labels["label"] for row in project.labels().rows}
    camera.dock.session.show_slide(next(name for name in learned if labels[name] == "nodule"))
    camera.rest()
    camera.viewer.reset_view()
    camera.turn("predict").main.click()
    camera.wait()
    camera.shoot("8-predict")


def correct(camera: Camera) -> None:
    """Judge suggested patches by key as the truth has them, and let the model learn from it."""
    review: Any = camera.turn("review")
    camera.judge(6)
    camera.shoot("9-review")
    review.tuning.button.click()
    camera.wait()
    camera.dock.stack.currentWidget().verticalScrollBar().setValue(10_000)
    camera.shoot("10-tuned")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--size", default="1366x768")
    parser.add_argument("--theme", default="dark", choices=["dark", "light"])
    parser.add_argument("--out", type=Path, default=IMAGES / "tutorial")
    given = parser.parse_args()
    width, height = (int(part) for part in given.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = folder  # what is remembered of other windows is not shown
        table = write_sample_cohort(Path(folder))
        slide = table.parent / "slides" / f"{SLIDE}.tiff"
        camera = Camera(slide, out=given.out, size=(width, height), theme=given.theme)
        camera.dock.session.new_project = Path(folder) / "tutorial"
        camera.rest()
        open_and_prepare(camera)
        embed_and_cluster(camera)
        inspect_and_exclude(camera)
        train(camera, table)
        predict(camera)
        correct(camera)
        camera.close()


if __name__ == "__main__":
    main()
