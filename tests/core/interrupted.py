"""Run a verb and stand still in the middle of an epoch: ``python interrupted.py VERB OPTIONS``.

OPTIONS is JSON with the verb's options and ``until``, words of a progress: when it tells of them a
line is printed, and nothing more happens. Whoever reads the line may kill the process then.
"""

from __future__ import annotations

import json
import sys
import time

from src_core.progress import Progress, never
from src_core.verbs import run_verb

if __name__ == "__main__":
    options = json.loads(sys.argv[2])
    until = options.pop("until")
    there: list[Progress] = []

    def report(progress: Progress) -> None:
        there.extend([progress] if until in progress.detail else [])
        if len(there) == 2:  # two batches of that epoch are learned
            print("here", flush=True)
            time.sleep(600)

    run_verb(sys.argv[1], options, report=report, stop=never)
    print("done", flush=True)
