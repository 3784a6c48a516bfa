"""A thread that does only what nobody has asked for anew."""

from __future__ import annotations

from threading import Event
from typing import Any

from qtpy.QtCore import QObject

from napari_fusecpath.widgets.threads import SideThread


def test_only_the_latest_is_done_of_what_waits(qtbot: Any) -> None:
    owner, gate = QObject(), Event()
    done: list[int] = []
    thread = SideThread("latest", owner)
    thread.submit(gate.wait, 10)
    for number in range(3):
        thread.submit_latest(done.append, number)
    assert done == []
    gate.set()
    ended = Event()
    thread.submit(ended.set)
    qtbot.waitUntil(ended.is_set)
    assert done == [2]
