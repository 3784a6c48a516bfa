"""The legend of flawed patches: how many there are of each kind, and which are left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_fusecpath.layers.overlays import flaw_colors
from napari_fusecpath.widgets.steady import SteadyButton
from napari_fusecpath.widgets.step import wrapped_label
from napari_fusecpath.widgets.tables import colour_icon
from src_core.tissue.quality import FLAGS, FLAW_WORDS, counts, has_flag
from src_core.wording import counted

__all__ = ["FlawLegend", "flaws_text"]

_TITLES = {
    "blur": "Blurred",
    "pen": "Pen marks",
    "fold": "Folded",
    "background": "Hardly stained",
}


def flaws_text(flags: NDArray[np.uint8], exclude: tuple[str, ...] | None) -> str:
    """Return a line such as ``63 patches; 3 blurred, 2 with pen marks (shown, kept)``.

    Without flaws to exclude, None, nobody knows which of the patches were left out.
    """
    if exclude is None:
        return _judged_text(flags)
    left_out = int(has_flag(flags, exclude).sum())
    kept = counted(len(flags) - left_out, "patch", "patches")
    found = {name: count for name, count in counts(flags).items() if count}
    if not found:
        return f"{kept}, none of them blurred, inked, folded or hardly stained."
    parts = [kept]
    for names, fate in (
        ([name for name in found if name not in exclude], "shown, kept"),
        ([name for name in found if name in exclude], "left out"),
    ):
        if names:
            what = ", ".join(f"{found[name]:,} {FLAW_WORDS[name]}" for name in names)
            parts.append(f"{what} ({fate})")
    return f"{'; '.join(parts)}."


def _judged_text(flags: NDArray[np.uint8]) -> str:
    found = [f"{count:,} {FLAW_WORDS[name]}" for name, count in counts(flags).items() if count]
    what = f"{', '.join(found)} (shown)" if found else "none of them flawed"
    return f"{counted(len(flags), 'patch', 'patches')} judged; {what}."


class FlawLegend(QWidget):
    """A line, and a box for each flaw: ticked ones exclude patches.

    Signals
    -------
    applied()
        Lay the grid by what is ticked.
    """

    applied = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.line = wrapped_label(parent=self)
        self.heading = QLabel("Leave out patches with a tick here:", self)
        self.boxes = {name: QCheckBox(self) for name in FLAGS}
        self.apply = SteadyButton("Apply", self)
        self.apply.setToolTip("Lay the grid again; nothing that is embedded is lost")
        self.apply.clicked.connect(self.applied)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.line)
        layout.addWidget(self.heading)
        for name, colour in zip(FLAGS, flaw_colors(), strict=False):
            box = self.boxes[name]
            box.setIcon(colour_icon(colour))
            box.setToolTip(f"Leave out every patch found {FLAW_WORDS[name]}")
            box.setAccessibleName(f"Leave out: {_TITLES[name]}")
            layout.addWidget(box)
        several = QLabel("several of these", self)
        mark = QLabel(self)
        mark.setPixmap(colour_icon(flaw_colors()[-1]).pixmap(14, 14))
        line = QHBoxLayout()
        line.addSpacing(self.boxes["blur"].iconSize().width() + 8)
        line.addWidget(mark)
        line.addWidget(several, stretch=1)
        layout.addLayout(line)
        layout.addWidget(self.apply)
        self._shown: tuple[str, ...] | None = None

    @property
    def exclude(self) -> tuple[str, ...]:
        """The flaws that are ticked."""
        return tuple(name for name, box in self.boxes.items() if box.isChecked())

    def show_flags(
        self, flags: NDArray[np.uint8] | None, exclude: tuple[str, ...], *, is_applied: bool
    ) -> None:
        """Show the flags of a slide; ticks change only when the project's choice does.

        Parameters
        ----------
        flags : ndarray of uint8, shape (N,), optional
            None of a slide that was not judged.
        exclude : tuple of str
            What the project leaves out.
        is_applied : bool
            It has been left out of this slide.
        """
        self.setVisible(flags is not None)
        if flags is None:
            return
        self.line.setText(flaws_text(flags, exclude if is_applied else None))
        for name, count in counts(flags).items():
            self.boxes[name].setText(f"{_TITLES[name]}: {count:,}")
        if exclude != self._shown:
            self._shown = exclude
            for name, box in self.boxes.items():
                box.setChecked(name in exclude)
