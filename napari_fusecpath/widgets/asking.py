"""The two questions that only the user can answer: a token, and whether foreign code may run."""

from __future__ import annotations

import os
from html import escape

from napari.qt.threading import create_worker
from napari.utils.theme import get_theme
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_fusecpath.widgets.step import wrapped_label
from src_core.encoders.cards import EncoderCard
from src_core.encoders.hub import store_token
from src_core.encoders.hub_refusals import hub_name
from src_core.encoders.remote_code import agree, agreed_revision
from src_core.errors import FusecpathError

__all__ = ["ConsentDialog", "TokenDialog"]

_WIDTH_PX = 460
_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""Where huggingface_hub looks for a token before the one that it keeps."""


class _Question(QDialog):
    """Some lines to read, one to fill in, and a button that is enabled once it is."""

    def __init__(self, title: str, yes: str, *, theme: str, parent: QWidget | None) -> None:
        super().__init__(parent)
        self._colour = get_theme(theme).text.as_hex()
        self.setWindowTitle(title)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(_WIDTH_PX)
        self.lines = QVBoxLayout()
        self.field = QLineEdit(self)
        self.problem = wrapped_label(parent=self)
        self.problem.hide()
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel, self)
        self.yes = QPushButton(yes, self)
        self.buttons.addButton(self.yes, QDialogButtonBox.ButtonRole.AcceptRole)
        self.yes.setEnabled(False)
        self.field.textChanged.connect(lambda text: self.yes.setEnabled(bool(text.strip())))
        self.buttons.accepted.connect(self.answer)
        self.buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addLayout(self.lines)
        layout.addWidget(self.field)
        layout.addWidget(self.problem)
        layout.addStretch(1)
        layout.addWidget(self.buttons)

    def answer(self) -> None:
        """Take what was filled in."""

    def add_line(self, html: str) -> None:
        """Add a line to read, with links that open in the browser."""
        label = QLabel(html, self)
        label.setTextFormat(Qt.TextFormat.RichText)
        label.setWordWrap(True)
        label.setOpenExternalLinks(True)
        self.lines.addWidget(label)

    def link(self, url: str) -> str:
        """Return a link in the colour of text: the usual one is lost on a dark theme."""
        shown = escape(url.removeprefix("https://"))
        return f'<a href="{escape(url)}" style="color: {self._colour}">{shown}</a>'

    def tell(self, problem: str) -> None:
        """Say why it did not work; the field can be filled in again."""
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))


class TokenDialog(_Question):
    """Asks for a Hugging Face token and hands it to huggingface_hub, which alone keeps it.

    It goes from the field to huggingface_hub's own login in this process: into no job, no file of
    ours, no message and no log.

    Parameters
    ----------
    card : EncoderCard
        The gated encoder.
    theme : str
        Of the window.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    stored()
        huggingface_hub has accepted the token.
    """

    stored = Signal()

    def __init__(self, card: EncoderCard, *, theme: str, parent: QWidget | None = None) -> None:
        super().__init__(f"Log in for {card.name}", "Log in", theme=theme, parent=parent)
        page, tokens = self.link(card.source_url), self.link(f"{hub_name()}/settings/tokens")
        self.add_line(
            f"The weights of {escape(card.honest_name)} (licence: {escape(card.licence)}) are "
            "given to those who ask."
        )
        self.add_line(f"1. Read the licence and ask for access: {page}")
        self.add_line(f"2. Make a token with the right to read: {tokens}")
        self.add_line("3. Enter it here. Hugging Face's own program keeps it, as for all others.")
        if any(os.environ.get(name) for name in _VARIABLES):
            self.add_line("HF_TOKEN is set on this machine and goes before what is entered here.")
        self.field.setEchoMode(QLineEdit.EchoMode.Password)
        self.field.setPlaceholderText("hf_…")
        self.field.setAccessibleName("Hugging Face token")
        self.field.setInputMethodHints(
            Qt.InputMethodHint.ImhSensitiveData | Qt.InputMethodHint.ImhNoPredictiveText
        )

    def answer(self) -> None:
        """Let huggingface_hub ask the hub about the token, in a thread."""
        token = self.field.text()
        self.field.clear()
        self.field.setEnabled(False)
        self.tell("Asking the hub…")
        worker = create_worker(_log_in, token, _start_thread=False)
        worker.returned.connect(self._answered)
        worker.start()

    def _answered(self, problem: str) -> None:
        self.field.setEnabled(True)
        self.tell(problem)
        if problem:
            self.field.setFocus()
            return
        self.stored.emit()
        self.accept()


class ConsentDialog(_Question):
    """Asks whether the code that a model brings may run, at one commit of its repository.

    Parameters
    ----------
    card : EncoderCard
        The model.
    theme : str
        Of the window.
    parent : QWidget, optional
        Usual.

    Signals
    -------
    agreed()
        The commit is on the user's list.
    """

    agreed = Signal()

    def __init__(self, card: EncoderCard, *, theme: str, parent: QWidget | None = None) -> None:
        title = f"Let the code of {card.name} run?"
        super().__init__(title, "Let it run", theme=theme, parent=parent)
        self._card = card
        self.add_line(
            f"{escape(card.honest_name)} brings Python code with its weights. It may do on this "
            "machine whatever you may. Only the code of one commit is run."
        )
        self.add_line(f"Repository: {self.link(card.source_url)} ({escape(card.licence)})")
        try:
            commit = agreed_revision(card) or card.revision or ""
        except FusecpathError as error:
            commit = card.revision or ""
            self.tell(str(error))
        if commit:
            self.add_line(f"Read it: {self.link(f'{card.source_url}/tree/{commit}')}")
        else:
            where = self.link(f"{card.source_url}/commits/main")
            self.add_line(f"Read it, and copy the commit that you trust: {where}")
        self.add_line("Commit, 40 digits:")
        self.field.setPlaceholderText("0123456789abcdef…")
        self.field.setAccessibleName("Commit")
        self.field.setText(commit)

    def answer(self) -> None:
        """Remember the commit, as ``--trust-remote-code`` does."""
        try:
            agree(self._card, self.field.text().strip())
        except FusecpathError as error:
            self.tell(str(error))
            return
        self.agreed.emit()
        self.accept()


def _log_in(token: str) -> str:
    """Return why the token was not taken, empty if it was; it is never raised out of here.

    napari shows the local variables of an error that nobody caught, and the token is one.
    """
    try:
        store_token(token)
    except FusecpathError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - told by its name, for its text may quote the token
        return f"The login ended with {type(error).__name__}; try `hf auth login` in a terminal."
    return ""
