"""How many files a process may have open."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows counts no maps")


def answered(code: str, soft: int, hard: int) -> list[int]:
    """Run code in a process that may have `soft` files open, and `hard` if it asks."""
    start = (
        "import resource as r; from src_core.open_files import allow_many_files, most_maps;"
        f"r.setrlimit(r.RLIMIT_NOFILE, ({soft}, {hard})); print('limit');"
    )
    end = ";print('limit', r.getrlimit(r.RLIMIT_NOFILE)[0], most_maps())"
    done = subprocess.run(
        [sys.executable, "-c", start + code + end], capture_output=True, text=True, check=True
    )
    return [int(number) for number in done.stdout.splitlines()[-1].split()[1:]]


@pytest.mark.parametrize(("soft", "hard", "after"), [(256, 900, 900), (900, 900, 900)])
def test_as_many_as_the_system_grants_are_asked_for(soft: int, hard: int, after: int) -> None:
    assert answered("pass", soft, hard) == [soft, soft // 3]
    assert answered("allow_many_files()", soft, hard) == [after, after // 3]


def test_the_command_asks_for_them() -> None:
    code = "import src_core.cli; src_core.cli.main(['encoders'])"
    assert answered(code, 300, 800) == [800, 266]
