"""What every test of the plugin may use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

FORBIDDEN = ("torch", "timm")


@pytest.fixture(autouse=True)
def window_process_without_torch() -> Iterator[None]:
    """Fail the first test after which the window's process has loaded torch."""
    before = [name for name in FORBIDDEN if name in sys.modules]
    yield
    loaded = [name for name in FORBIDDEN if name in sys.modules and name not in before]
    # With a canvas up, loading them ends the process on some machines.
    assert not loaded, f"the window's process has loaded {loaded}"


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a session that loaded torch in any other way, if only the window's tests ran in it."""
    folder = Path(__file__).parent
    only_ours = all(Path(item.path).is_relative_to(folder) for item in session.items)
    loaded = [name for name in FORBIDDEN if name in sys.modules]
    if only_ours and loaded:
        print(f"\nThe window's process has loaded {loaded}.", file=sys.stderr)
        session.exitstatus = 1


@pytest.fixture(autouse=True)
def caches_of_the_user_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what we cache out of the home of whoever runs the tests."""
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_, **__: str(tmp_path / "cache"))


@pytest.fixture
def canvas_of(qtbot: Any) -> Callable[..., NDArray[np.uint8]]:
    """Return a function that draws a viewer's canvas, (height, width, 3), once it is at rest."""

    def canvas(viewer: Any, *, wait: int = 50) -> NDArray[np.uint8]:
        qtbot.wait(wait)
        picture = viewer.screenshot(canvas_only=True, flash=False)
        return np.asarray(picture[..., :3])

    return canvas
