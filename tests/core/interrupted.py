"""Run a verb and stand still on the way: ``python interrupted.py VERB OPTIONS``.

OPTIONS is JSON with the verb's options and either ``until``, words of a progress, or ``within``, a
function as ``module:name``. When progress tells of the words for the second time, or the function
is called, a line is printed, and nothing more happens. Whoever reads the line may kill the process
then, as `killed` does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil

from src_core.progress import Progress, never
from src_core.verbs import run_verb

__all__ = ["killed"]


def killed(root: Path, verb: str, **options: Any) -> None:
    """Start a verb in a process and kill it where ``until`` or ``within`` says.

    Its device is the CPU; None takes an option away, such as that of a verb without a device.
    """
    asked = {"project": str(root), "device": "cpu", **options}
    asked = {name: value for name, value in asked.items() if value is not None}
    command = [sys.executable, "-P", __file__, verb, json.dumps(asked)]
    paths = os.pathsep.join(sys.path)
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "here", "it ended before it could be killed"
    psutil.Process(child.pid).kill()  # SIGKILL, or what Windows has instead
    child.wait(timeout=30)
    child.stdout.close()


def _stand_still(*_: Any, **__: Any) -> None:
    print("here", flush=True)
    time.sleep(600)


def _run(verb: str, options: dict[str, Any]) -> None:
    until, within = options.pop("until", ""), options.pop("within", "")
    there: list[Progress] = []

    def report(progress: Progress) -> None:
        there.extend([progress] if until and until in progress.detail else [])
        if len(there) == 2:  # two batches of that epoch are learned
            _stand_still()

    if within:
        module, _, names = within.partition(":")
        *path, name = names.split(".")
        setattr(reduce(getattr, path, import_module(module)), name, _stand_still)
    run_verb(verb, options, report=report, stop=never)
    print("done", flush=True)


if __name__ == "__main__":
    _run(sys.argv[1], json.loads(sys.argv[2]))
