"""``prepare``, killed at random moments: ``python killed_prepare.py SLIDE FOLDER SEED``.

The verb runs in a fork of a process that has loaded everything, so a run begins at once, and
twenty kills take no longer than their runs. FOLDER/whole is a run that nobody disturbs. The
project in FOLDER/killed-1 is prepared by runs that are killed at random moments, until one is done
before that: then the next project begins.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import simplejpeg  # noqa: F401 - loaded once, as what follows
import skimage.morphology  # noqa: F401

from src_core.embeddings import writer
from src_core.encoders import texture, timm_encoders  # noqa: F401
from src_core.encoders.registry import encoder_card
from src_core.progress import ignore, never
from src_core.slides import openslide_reader  # noqa: F401
from src_core.tissue import quality, segment  # noqa: F401
from src_core.verbs import run_verb

KILLS = 20
NETWORK = "timm:test_vit@random"
"""A network so small that a run is short, and many moments of it are worth a kill."""
LONGEST = 0.7
"""Share of an undisturbed run that a killed one may take."""
MOMENT = 0.1
"""The same, counted from the moment at which a run has stored something."""


def prepare(project: Path, slide: Path) -> None:
    options = {"project": str(project), "slides": [str(slide)], "encoders": ["texture", NETWORK]}
    result = run_verb("prepare", {**options, "device": "cpu"}, report=ignore, stop=never)
    if result["failures"]:
        raise RuntimeError(result["failures"])


def start(project: Path, slide: Path) -> int:
    """Run ``prepare`` in a fork of this process and return its number."""
    child = os.fork()
    if child:
        return child
    prepare(project, slide)  # an error ends the fork, and is printed
    os._exit(0)


def whole_run(project: Path, slide: Path) -> float:
    """Prepare without being disturbed; return the seconds that took."""
    began = time.monotonic()
    if os.waitpid(start(project, slide), 0)[1] != 0:
        raise SystemExit("a run that nobody killed has failed")
    return time.monotonic() - began


def stored_files(project: Path) -> set[str]:
    """Return the files of embeddings, while a run writes and deletes them."""
    walk = os.walk(project)  # it passes over folders that are gone
    files = {str(Path(top, name)) for top, _, names in walk for name in names}
    return {file for file in files if file.endswith("cells.npy") and "grids" not in file}


def safe_rows(project: Path) -> int:
    """Count the embeddings that a kill has left."""
    return sum(len(np.load(file)) for file in stored_files(project))


def wait_for_more(project: Path, longest: float) -> None:
    """Return when the run has stored embeddings it did not find, or has found nothing to do."""
    found, end = stored_files(project), time.monotonic() + longest
    while not stored_files(project) - found and time.monotonic() < end:
        time.sleep(0.001)


if __name__ == "__main__":
    slide, folder = Path(sys.argv[1]), Path(sys.argv[2])
    writer._PART_ROWS = 8  # so that a small slide has many parts
    encoder_card(NETWORK)  # known to the forks: asking timm takes as long as embedding
    seconds = whole_run(folder / "whole", slide)
    moments = random.Random(int(sys.argv[3]))
    safe: list[list[int]] = [[]]
    killed = 0
    while killed < KILLS:
        project = folder / f"killed-{len(safe)}"
        child = start(project, slide)
        # Every other run is killed after it has stored something, on however slow a machine.
        if killed % 2:
            wait_for_more(project, 2 * seconds)
        time.sleep(moments.uniform(0, (MOMENT if killed % 2 else LONGEST) * seconds))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if status == signal.SIGKILL:
            killed += 1
            safe[-1].append(safe_rows(project))
        elif status != 0:
            raise SystemExit("a run that went on from a killed one has failed")
        else:  # it was done before that: the next is another project
            safe.append([])
    whole_run(folder / f"killed-{len(safe)}", slide)
    print(json.dumps({"safe": safe, "seconds": seconds}))
