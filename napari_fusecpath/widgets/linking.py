"""How the second view follows the first: by the same way on the slide, whatever the pixels."""

from __future__ import annotations

from dataclasses import dataclass

from napari_fusecpath.layers.geometry import unit_of
from napari_fusecpath.layers.view import View

__all__ = ["ALIGNED", "Link", "are_comparable"]


@dataclass(frozen=True, slots=True)
class Link:
    """What lies between two views: from the first to the second."""

    offset_xy: tuple[float, float] = (0.0, 0.0)
    """Micrometres; level-0 pixels where neither slide says its scale."""
    ratio: float = 1.0
    """By which the second shows more of its slide."""

    @classmethod
    def between(
        cls, first: View, second: View, *, first_mpp: float | None, second_mpp: float | None
    ) -> Link:
        """Return the link that leaves both views where they are."""
        one, other = unit_of(first_mpp)[1], unit_of(second_mpp)[1]
        (x, y), (u, v) = first.center_xy, second.center_xy
        ratio = second.l0_per_px * other / (first.l0_per_px * one)
        return cls((u * other - x * one, v * other - y * one), ratio)

    def second(self, first: View, *, first_mpp: float | None, second_mpp: float | None) -> View:
        """Return where the second view is to be."""
        one, other = unit_of(first_mpp)[1], unit_of(second_mpp)[1]
        (x, y), (right, down) = first.center_xy, self.offset_xy
        center = ((x * one + right) / other, (y * one + down) / other)
        return View(center, first.l0_per_px * one * self.ratio / other)

    def first(self, second: View, *, first_mpp: float | None, second_mpp: float | None) -> View:
        """Return where the first view is to be, after the user has moved the second."""
        right, down = self.offset_xy
        back = Link((-right, -down), 1 / self.ratio)
        return back.second(second, first_mpp=second_mpp, second_mpp=first_mpp)


ALIGNED = Link()
"""The same place and magnification."""


def are_comparable(first_mpp: float | None, second_mpp: float | None) -> bool:
    """Tell whether a way on one slide is a way on the other."""
    return (first_mpp is None) == (second_mpp is None)
