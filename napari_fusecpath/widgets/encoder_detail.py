"""What lies below the table of encoders: all that is known of one, and what can be done."""

from __future__ import annotations

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QHBoxLayout, QMenu, QPushButton, QVBoxLayout, QWidget

from napari_fusecpath.widgets.encoder_texts import Action, EncoderLine
from napari_fusecpath.widgets.step import wrapped_label

__all__ = ["EncoderDetail"]

_LINES = 4
_TIPS: dict[Action, str] = {
    "token": "Enter a token of the hub that has its weights",
    "consent": "Let the code run that comes with its weights",
    "file": "Take its weights from a file on this machine",
    "forget": "Take its weights from where they came from before",
    "page": "Open its page in the browser",
}
"""Of each button, while no encoder is shown that asks for it."""


class EncoderDetail(QWidget):
    """A few sentences about an encoder, and buttons for what it may ask of the user.

    Parameters
    ----------
    parent : QWidget, optional
        Usual.

    Signals
    -------
    wanted(str)
        The `Action` that the user wants.
    """

    wanted = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.text = wrapped_label(parent=self)
        self.text.setAccessibleName("About the encoder")
        # Else the button below moves while one walks along the rows.
        self.text.setMinimumHeight(_LINES * self.fontMetrics().lineSpacing())
        self.buttons: dict[Action, QPushButton] = {}
        line = QHBoxLayout()
        line.setContentsMargins(0, 0, 0, 0)
        for action, tip in _TIPS.items():
            button = self.buttons[action] = QPushButton(self)
            button.setToolTip(tip)
            button.clicked.connect(lambda _on=False, action=action: self.wanted.emit(action))
            line.addWidget(button)
        line.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(line)  # above, for the text of some is longer than a laptop's dock
        layout.addWidget(self.text)
        self._shown: EncoderLine | None = None

    def show_line(self, line: EncoderLine | None) -> None:
        """Show another encoder, or none."""
        if line == self._shown and line is not None:
            return
        self._shown = line
        self.text.setText("" if line is None else line.text)
        self.text.setToolTip("" if line is None else line.tip)
        actions = {} if line is None else line.actions
        for action, button in self.buttons.items():
            button.setText(actions.get(action, ""))
            button.setVisible(action in actions)
            if line is not None and action in actions:
                button.setToolTip(f"{actions[action]}: {line.name}")
                button.setAccessibleName(f"{line.name}: {actions[action]}")
        url = "" if line is None or line.card is None else line.card.source_url
        self.buttons["page"].setToolTip(f"Opens {url} in the browser")

    def offer(self, menu: QMenu) -> None:
        """Let a menu do what the buttons do."""
        actions = {} if self._shown is None else self._shown.actions
        for action, text in actions.items():
            entry = menu.addAction(text)
            if entry is not None:
                entry.triggered.connect(lambda _on=False, action=action: self.wanted.emit(action))
