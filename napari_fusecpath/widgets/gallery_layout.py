"""How the dock "Gallery" is laid out: what to choose at the left, the patches beside it."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_fusecpath.remembered import remember
from napari_fusecpath.widgets.gallery_sources import SOURCES, TITLES, Lack, Source
from napari_fusecpath.widgets.gallery_view import GalleryView
from napari_fusecpath.widgets.steady import SteadyButton
from napari_fusecpath.widgets.step import wrapped_label

__all__ = ["GalleryLayout"]

_SIDE_PX = 300
"""On a laptop's screen a row of small patches is no shorter for it."""
_SIZES = {"Small": 84, "Medium": 128, "Full": 256}
"""Side of a picture, pixels of the window; that of larger patches is theirs at full size."""
_STEPS = {
    "prepare": "Run 1 Prepare",
    "embed": "Run 2 Embed",
    "cluster": "Run 3 Cluster",
    "train": "Run 5 Train",
    "predict": "Run 6 Predict",
}


class GalleryLayout(QWidget):
    """The widgets of the gallery, without what they do.

    Parameters
    ----------
    parent : QWidget, optional
        Usual.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.sources, self.sizes = QComboBox(self), QComboBox(self)
        for source in SOURCES:
            self.sources.addItem(TITLES[source], source)
        remember(self.sources, "source of the gallery")
        # Beside the sizes it takes what they leave, however long the longest of them is.
        self.sources.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.sources.setAccessibleName("Show")
        self.sources.setToolTip("Which patches are shown")
        for name, side in _SIZES.items():
            self.sizes.addItem(name, side)
        remember(self.sizes, "size of the patches")
        self.sizes.setAccessibleName("Size of the patches")
        self.sizes.setToolTip("Size of the patches")
        self.view = GalleryView(self.sizes.currentData(), self)
        self.view.setToolTip(
            "Click or Enter: go there (Ctrl or Shift: select it as well). "
            "X excludes, P pins, Ctrl+Z takes it back"
        )
        self.sizes.activated.connect(lambda _at: self.view.show_side(self.sizes.currentData()))
        self.hold = QPushButton("Hold", self)
        self.hold.setCheckable(True)
        self.hold.setToolTip(
            "Stay with this cluster; a click on a patch of the slide holds its own"
        )
        self.ask = SteadyButton("Find patches like it", self)
        self.everywhere = QCheckBox("on all slides", self)
        self.everywhere.setToolTip("Look through every slide of the project that is embedded")
        self.count, self.text = wrapped_label(parent=self), wrapped_label(parent=self)
        self.text.setAlignment(Qt.AlignmentFlag.AlignTop)
        # However much it says, the dock takes no more of the slide.
        self.text.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Ignored)
        self.empty = wrapped_label(parent=self)
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.to_step = QPushButton(self)
        self.to_step.setToolTip("Run the step that gives what is lacking here")
        self.pages, self.side = QStackedWidget(self), QWidget(self)
        self._lay_out()

    @property
    def source(self) -> Source:
        """What is to be shown."""
        source: Source = self.sources.currentData()
        return source

    def show_tools(self, source: Source, *, can_find: bool, n_slides: int) -> None:
        """Offer what a source has a use for.

        Parameters
        ----------
        source : Source
        can_find : bool
            There is one patch that others can be like.
        n_slides : int
            Of the project.
        """
        self.hold.setVisible(source == "cluster")
        self.ask.setVisible(source == "alike")
        self.ask.setEnabled(can_find)
        self.everywhere.setVisible(source == "alike" and n_slides > 1)

    def show_full(self, patch_px: int) -> None:
        """Let the largest pictures have every pixel of patches of so many; small ones are enlarged.

        Parameters
        ----------
        patch_px : int
            Side of a patch; 0 without any.
        """
        largest, side = self.sizes.count() - 1, max(_SIZES["Full"], patch_px)
        if side != self.sizes.itemData(largest):
            self.sizes.setItemData(largest, side)
            self.view.show_side(self.sizes.currentData())

    def show_lack(self, lack: Lack) -> None:
        """Say why there are no patches to be seen, and offer the step that gives them."""
        self.empty.setText(lack.text)
        self.to_step.setVisible(bool(lack.step))
        self.to_step.setText(_STEPS.get(lack.step, ""))
        self.count.setText("")
        self.text.setText("")
        self.pages.setCurrentIndex(1)
        self.setFocusProxy(self.sources)  # keys that come here choose another one

    def show_patches(self) -> None:
        """Show the patches."""
        self.pages.setCurrentIndex(0)
        self.setFocusProxy(self.view)

    def _lay_out(self) -> None:
        words = QWidget(self)
        self.side.setFixedWidth(_SIDE_PX)
        column = QVBoxLayout(self.side)
        column.setContentsMargins(0, 0, 0, 0)
        for line in (
            (self.sources, self.sizes),
            (self.ask, self.everywhere),
            (self.count, self.hold),
        ):
            row = QHBoxLayout()
            row.addWidget(line[0], stretch=1)
            row.addWidget(line[1])
            column.addLayout(row)
        column.addWidget(self.text, stretch=1)
        middle = QVBoxLayout(words)
        middle.addStretch()
        middle.addWidget(self.empty)
        middle.addWidget(self.to_step, alignment=Qt.AlignmentFlag.AlignCenter)
        middle.addStretch()
        self.setFocusProxy(self.view)
        self.pages.addWidget(self.view)
        self.pages.addWidget(words)
        across = QHBoxLayout(self)
        across.setContentsMargins(4, 4, 4, 4)
        across.addWidget(self.side)
        across.addWidget(self.pages, stretch=1)
