"""Draw the pictures of the window for the documentation, from a project with predictions.

    python docs/scripts/make_screenshots.py [PROJECT]

Without a project the demo makes one first, which takes minutes. The project is copied, so
nothing in it changes. Without a screen: ``xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX"``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from camera import IMAGES, Camera
from PIL import Image

from src_core.project import Project
from src_core.provenance import read_json

LARGE = (1600, 1000)


def best_slide(project: Project) -> str:
    """Return the predicted slide whose label stands last: a nodule has more to show."""
    predicted = {path.parent.name for path in project.root.glob("predictions/*/*/prediction.json")}
    rows = [row for row in project.labels().rows if row.slide_id in predicted]
    return max(rows, key=lambda row: ("nodule" in row.labels.values(), row.slide_id)).slide_id


def shoot_review(camera: Camera, project: Project) -> None:
    """Mark suggested patches of a slide that was learned from, and let the model learn."""
    learned = read_json(project.run("run-0001") / "config.json")["trained_on"]
    rows = {row.slide_id: row.labels.values() for row in project.labels().rows}
    slide_id = next(name for name in reversed(learned) if "nodule" in rows[name])
    camera.dock.session.show_slide(slide_id)
    camera.turn("predict").main.click()
    camera.wait()
    review = camera.turn("review")
    camera.judge(6)
    camera.viewer.reset_view()
    review.tuning.button.click()
    camera.wait()
    camera.dock.stack.currentWidget().verticalScrollBar().setValue(10_000)
    camera.shoot("review")


def shoot_all(root: Path) -> None:
    """Walk through the steps of a copy of a project, with a picture of each."""
    project = Project.open(root)
    slide_id = best_slide(project)
    camera = Camera(root)
    camera.dock.session.show_slide(slide_id)
    camera.rest()
    camera.viewer.reset_view()
    camera.turn("prepare")
    camera.shoot("prepare")
    camera.turn("embed").choice.table.choose("uni2-h")
    camera.shoot("embed")
    camera.turn("cluster")
    camera.shoot("cluster")
    shoot_review(camera, project)
    camera.dock.session.workbench.run_id = "run-0001"
    camera.dock.session.show_slide(slide_id)
    camera.turn("train")
    camera.shoot("train")
    camera.turn("predict")
    camera.shoot("predict")
    camera.viewer.window.resize(*LARGE)
    camera.rest()
    camera.viewer.reset_view()
    camera.shoot("window")
    camera.close()
    figures = sorted((root / "exports").glob("*.png"))
    figure = next((path for path in figures if slide_id in path.name), figures[-1])
    Image.open(figure).convert("RGB").quantize(256).save(IMAGES / "demo-figure.png", optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("project", nargs="?", type=Path)
    given = parser.parse_args().project
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "demo"
        if given is None:
            command = [sys.executable, "-m", "src_core.cli", "demo", "--out", str(root), "--json"]
            # Without a screen the demo opens no window of its own, which would wait to be closed.
            screens = ("DISPLAY", "WAYLAND_DISPLAY")
            blind = {name: value for name, value in os.environ.items() if name not in screens}
            subprocess.run(command, check=True, env=blind)
        else:
            shutil.copytree(given, root)
        shoot_all(root)


if __name__ == "__main__":
    main()
