"""A window with the dock and where its pictures go, for the scripts that draw those of the docs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import napari
import numpy as np
from PIL import Image
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QDockWidget

from napari_fusecpath.widgets.dock import FuseCPathWidget

__all__ = ["IMAGES", "SMALL", "Camera"]

IMAGES = Path(__file__).resolve().parents[1] / "images"
PLUGIN = "napari-fusecpath"
SMALL = (1366, 768)


class Camera:
    """A window, the clicks of a user, and pictures of both.

    Parameters
    ----------
    path : Path
        Project or slide that it opens.
    out : Path, optional
        Folder of the pictures.
    size : (int, int), optional
        Of the window, in pixels.
    theme : str, optional
        Of napari.
    """

    def __init__(
        self,
        path: Path,
        *,
        out: Path = IMAGES,
        size: tuple[int, int] = SMALL,
        theme: str = "dark",
    ) -> None:
        self.out = out
        out.mkdir(parents=True, exist_ok=True)
        self.viewer: Any = napari.Viewer(show=True)
        self.viewer.theme = theme
        self.viewer.window.resize(*size)
        _, dock = self.viewer.window.add_plugin_dock_widget(PLUGIN, "FuseCPath")
        self.dock: FuseCPathWidget = dock
        self.viewer.open(path, plugin=PLUGIN)
        self.rest()
        self.viewer.reset_view()

    def rest(self, milliseconds: int = 1500) -> None:
        """Let napari draw what is due."""
        QTest.qWait(milliseconds)

    def wait(self) -> None:
        """Wait until the engine has done what it was asked."""
        runner = self.dock.session.runner
        while runner.running is not None or runner.queued:
            QTest.qWait(100)
        self.rest()

    def turn(self, step: str) -> Any:
        """Turn to a step as a click on its button does."""
        index = list(self.dock.panels).index(step)
        self.dock._buttons.button(index).click()  # noqa: SLF001
        self.rest()
        return self.dock.panels[step]

    def shoot(self, name: str) -> None:
        """Save the whole window."""
        self.rest()
        pixels = self.viewer.screenshot(canvas_only=False, flash=False)
        picture = Image.fromarray(np.asarray(pixels)[..., :3]).quantize(
            256, method=Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE
        )
        picture.save(self.out / f"{name}.png", optimize=True)
        print(self.out / f"{name}.png")

    def find(self, kind: type[Any]) -> Any:
        """Return the one widget of a kind in the window."""
        return self.viewer.window._qt_window.findChild(kind)  # noqa: SLF001

    def judge(self, count: int) -> None:
        """Mark suggested patches in Review as Ada, by what the model is sure of."""
        review: Any = self.dock.panels["review"]
        review.reviewer.setText("Ada")
        review.reviewer.editingFinished.emit()
        strip, names = review.suggestions.strip, self.dock.session.snapshot.model.classes
        strip.step(1)
        for _ in range(count):
            tip = next(item.tip for item in strip.items if item.row == strip.current)
            is_nodule = any(f"nodule {odds}" in tip for odds in ("0.9", "1.0"))
            review.suggestions.mark(names.index("nodule" if is_nodule else "normal"))
        self.rest()

    def close_bottom(self) -> None:
        """Close the docks at the bottom."""
        for dock in self.viewer.window._qt_window.findChildren(QDockWidget):  # noqa: SLF001
            if dock.property("fusecpath_bottom"):
                dock.close()
        self.rest()

    def close(self) -> None:
        """End the engine and the window."""
        self.dock.session.runner.close()
        self.viewer.close()
