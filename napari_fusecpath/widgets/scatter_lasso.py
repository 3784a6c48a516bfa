"""Which points lie in a polygon that was drawn by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPolygonF

from napari_fusecpath.widgets.scatter_raster import in_picture
from src_core.types import BoolArray, Float32, Int64

__all__ = ["inside_polygon"]


def inside_polygon(px: Float32, polygon: list[QPointF], size: tuple[int, int]) -> Int64:
    """Return the rows of the points in a polygon on a picture, to a pixel, ascending.

    Parameters
    ----------
    px : ndarray of float32, shape (N, 2)
        Where they lie; none beside the picture counts.
    polygon : list of QPointF
        Closed by itself; what it goes around twice is outside.
    size : (width, height)
        Of the picture, pixels.

    Notes
    -----
    It is filled as the picture that it is drawn on: a hundred thousand points take a millisecond
    or two, where asking for each takes a hundred.
    """
    mask = QImage(*size, QImage.Format.Format_Grayscale8)
    mask.fill(0)
    painter = QPainter(mask)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(255, 255, 255))
    painter.drawPolygon(QPolygonF(polygon), Qt.FillRule.OddEvenFill)
    painter.end()
    bits: Any = mask.constBits()
    if hasattr(bits, "setsize"):  # PyQt's pointer knows no length
        bits.setsize(mask.sizeInBytes())
    pixels = np.frombuffer(bits, np.uint8).reshape(size[1], mask.bytesPerLine())
    inside: BoolArray = pixels[:, : size[0]] > 127
    seen = np.flatnonzero(in_picture(px, size))
    columns, lines = px[seen].astype(np.int64).T
    found: Int64 = seen[inside[lines, columns]]
    return found
