"""Lets the keys stay where they are when a message of napari's fades away.

napari then gives them to the canvas: what was being typed in the dock went on there, as its keys.
"""

from __future__ import annotations

from functools import partial

from napari._qt.dialogs.qt_notification import NapariQtNotification
from napari.utils.notifications import Notification, notification_manager
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QApplication

__all__ = ["keep_keys_from_messages"]


def keep_keys_from_messages() -> None:
    """Do so for all messages that are shown from now on; a second call changes nothing."""
    notification_manager.notification_ready.connect(_keep_from_shown, position="last")


class _KeyKeeper(QObject):
    """Of one message, with which it ends."""

    def __init__(self, message: NapariQtNotification) -> None:
        super().__init__(message)
        self._message = message
        message.opacity_anim.finished.connect(self._keep)  # comes before napari's own

    def _keep(self) -> None:
        """Let the canvas pass the keys on to what has them, for as long as the message closes."""
        canvas, here = self._message.parentWidget(), QApplication.focusWidget()
        if canvas is None or here is None or self._message.opacity.opacity() > 0:
            return
        # A proxy that is above or in the canvas would change the order in which Tab goes.
        if here is not canvas and not canvas.isAncestorOf(here) and not here.isAncestorOf(canvas):
            canvas.setFocusProxy(here)
            QTimer.singleShot(0, partial(canvas.setFocusProxy, None))


def _keep_from_shown(_event: Notification) -> None:
    for top in QApplication.topLevelWidgets():
        for message in top.findChildren(NapariQtNotification):
            if message.findChild(_KeyKeeper) is None:
                _KeyKeeper(message)
