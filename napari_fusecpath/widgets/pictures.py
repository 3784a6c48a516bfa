"""Pixels as pictures of Qt's."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QIcon, QImage, QPixmap

from src_core.types import Rgb

__all__ = ["icon_of", "image_of", "picture_of"]


def image_of(pixels: Rgb) -> QImage:
    """Return pixels, (height, width, 3), as a picture with a copy of them."""
    height, width, _ = pixels.shape
    flat = np.ascontiguousarray(pixels).tobytes()
    return QImage(flat, width, height, 3 * width, QImage.Format.Format_RGB888).copy()


def picture_of(pixels: Rgb, side: int) -> QImage:
    """Return pixels, (height, width, 3), as a small picture whose longer side is `side`."""
    return image_of(pixels).scaled(
        side,
        side,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )


def icon_of(picture: QImage | QPixmap) -> QIcon:
    """Return a picture that keeps its colours while it is highlighted: they are to be judged."""
    pixmap = picture if isinstance(picture, QPixmap) else QPixmap.fromImage(picture)
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)
    return icon
