"""The buttons by which embeddings of other programs come in, and ours go out to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_fusecpath.widgets.dialogs import ask_files, ask_folder
from napari_fusecpath.widgets.steady import SteadyButton
from napari_fusecpath.widgets.step import wrapped_label
from src_core.wording import counted

__all__ = ["Interchange", "import_text"]

_FILES = "Embeddings or patches (*.h5 *.hdf5 *.pt *.npy *.csv *.geojson *.json *.gz)"
_FORMATS = {
    "QuPath: patches (GeoJSON)": "geojson",
    "QuPath: tissue (GeoJSON)": "tissue",
    "Measurements (GeoJSON, CSV)": "measurements",
    "Table of patches (CSV)": "csv",
    "AnnData (tables)": "anndata",
    "TRIDENT (HDF5)": "trident",
}


class Interchange(QWidget):
    """Import by file or folder, export by format.

    Signals
    -------
    brought(dict)
        Take these files: options of the verb ``import``.
    wanted(dict)
        Write files: options of the verb ``export``.
    """

    brought = Signal(dict)
    wanted = Signal(dict)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.files = QPushButton("Import files…", self)
        self.files.setToolTip("What TRIDENT, CLAM or STAMP has made, or squares of QuPath")
        self.files.clicked.connect(self._ask_files)
        self.folder = QPushButton("Import a folder…", self)
        self.folder.setToolTip("Files for the slides of the project, by their names")
        self.folder.clicked.connect(self._ask_folder)
        self.encoder = QLineEdit(self)
        self.encoder.setPlaceholderText("encoder: as the file says")
        self.encoder.setToolTip("Name of the encoder, if the file says none or is to have another")
        self.encoder.setAccessibleName("Encoder of the files")
        self.of_this = QCheckBox("Of the slide in view", self)
        self.of_this.setToolTip("Whatever the files are called; else their names say the slide")
        self.format = QComboBox(self)
        self.format.addItems(list(_FORMATS))
        self.format.setToolTip("What is exported, and the program that reads it")
        self.format.setAccessibleName("Program to export for")
        self.export = SteadyButton("Export…", self)
        self.export.setToolTip(
            "Tissue, patches, embeddings, clusters, marks and maps of the slide in view"
        )
        self.export.clicked.connect(self._ask_out)
        self.say = wrapped_label(parent=self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for row in ((self.files, self.folder), (self.encoder,), (self.of_this,),
                    (self.format, self.export), (self.say,)):  # fmt: skip
            line = QHBoxLayout()
            for widget in row:
                line.addWidget(widget)
            layout.addLayout(line)

    def allow(self, *, come: bool, go: bool) -> None:
        """Let files come in, or go out."""
        for widget in (self.files, self.folder, self.encoder, self.of_this):
            widget.setEnabled(come)
        self.format.setEnabled(go)
        self.export.setEnabled(go)

    def _ask_files(self) -> None:
        self._bring(ask_files(self, "Embeddings or patches to import", _FILES))

    def _ask_folder(self) -> None:
        folder = ask_folder(self, "A folder of embeddings or patches to import")
        self._bring([folder] if folder else [])

    def _bring(self, paths: list[Path]) -> None:
        if paths:
            options: dict[str, Any] = {"files": [str(path) for path in paths]}
            name = self.encoder.text().strip()
            self.brought.emit({**options, **({"encoder": name} if name else {})})

    def _ask_out(self) -> None:
        folder = ask_folder(self, "A folder for the files")
        if folder:
            form = _FORMATS[self.format.currentText()]
            self.wanted.emit({"format": form, "out": str(folder)})


def import_text(result: dict[str, Any]) -> str:
    """Return what an import has done and what it says of each file, a line each."""
    lines = []
    for row in result["imported"]:
        what = counted(row["n_patches"], "patch", "patches") if row["n_patches"] else "the slide"
        by = f" by {row['encoder']}" if row["encoder"] else ""
        lines.append("; ".join([f"{row['slide_id']}: {what}{by}", *row["notes"]]) + ".")
    return "\n".join(lines)
