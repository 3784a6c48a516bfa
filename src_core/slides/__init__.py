"""Whole-slide images, read lazily.

The way in is :func:`src_core.slides.factory.open_slide`, also offered here.
"""

from src_core.slides.base import SlideProperties, SlideReader
from src_core.slides.factory import open_slide

__all__ = ["SlideProperties", "SlideReader", "open_slide"]
