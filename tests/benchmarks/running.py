"""What benchmarks have in common: each timing in a process of its own, and a word on its goal."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import psutil

__all__ = ["alone", "answer_alone", "say_where", "takes_functions", "verdict"]


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
