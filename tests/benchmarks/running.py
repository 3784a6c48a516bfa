"""What benchmarks have in common: each timing in a process of its own, and a word on its goal."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import psutil

__all__ = [
    "Times",
    "alone",
    "answer_alone",
    "in_turns",
    "lowest",
    "say_where",
    "takes_functions",
    "timed",
    "verdict",
]

Times = list[tuple[float, float]]
"""Wall and processor seconds."""


def alone(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Call a function of the script that runs in a fresh process, and return its result."""
    command = [sys.executable, sys.argv[0], "--alone", function.__name__, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{function.__name__}{arguments} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def takes_functions(parser: argparse.ArgumentParser) -> None:
    """Let a script be asked for one of its functions, as `alone` asks."""
    parser.add_argument(
        "--alone", nargs=2, metavar=("FUNCTION", "ARGUMENTS"), help=argparse.SUPPRESS
    )


def answer_alone(asked: argparse.Namespace, functions: Mapping[str, Any]) -> bool:
    """Answer `alone` if it asks; `functions` are the script's globals."""
    if not asked.alone:
        return False
    name, arguments = asked.alone
    print(json.dumps(functions[name](*json.loads(arguments))))
    return True


def say_where() -> None:
    """Print on which machine, and how busy it is."""
    print(f"{platform.platform()}, Python {platform.python_version()}")
    print(f"{psutil.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at start", flush=True)


def verdict(is_met: bool) -> str:
    """Return what is said of a goal."""
    return "met" if is_met else "MISSED"


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Return wall and processor seconds of a call."""
    began, used = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - began, time.process_time() - used


def in_turns(calls: dict[str, Callable[[], object]], n_rounds: int) -> dict[str, Times]:
    """Time calls in turns, so that what disturbs the machine disturbs all of them."""
    for call in calls.values():
        call()
    found: dict[str, Times] = {name: [] for name in calls}
    for _ in range(n_rounds):
        for name, call in calls.items():
            found[name].append(timed(call))
    return found


def lowest(times: Times, column: int = 0) -> float:
    """Return the least disturbed time: wall (0) or processor (1) seconds."""
    return min(one[column] for one in times)
