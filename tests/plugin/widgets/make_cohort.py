"""Takes a tiny synthetic cohort to a trained run: ``python make_cohort.py FOLDER``.

A process of its own, for training loads torch, which the window's process must not.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from src_core.progress import ignore, never
from src_core.project import Project, ProjectConfig
from src_core.slides.synthetic import CLASSES, SyntheticSlide, write_sample_slide
from src_core.verbs import run_verb

CONFIG = {
    "encoders": ["texture"],
    "grid": {"patch_px": 128},
    "clustering": {"n_clusters": 4, "n_per_cluster": 4},
    "training": {
        "width": 32,
        "epochs": 3,
        "bags_per_slide": 2,
        "patience": None,
        "n_bags": 2,
        "n_per_cluster": 4,
    },
}


def main(folder: Path) -> None:
    rows = [("slide_id", "path", "patient_id", "label")]
    for index in range(8):
        slide = SyntheticSlide(size_px=(1024, 1024), seed=index, nodule_fraction=0.3 * (index % 2))
        write_sample_slide(folder / f"s{index}.tiff", slide, downsamples=(4.0,))
        rows.append((f"s{index}", f"s{index}.tiff", f"p{index}", CLASSES[index % 2]))
    with (folder / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    project = Project.create(folder / "project", ProjectConfig.from_dict(CONFIG))
    steps = {"prepare": {"labels": str(folder / "labels.csv")}, "cluster": {}, "train": {}}
    for verb, options in steps.items():
        result = run_verb(
            verb, {"project": str(project.root), **options}, report=ignore, stop=never
        )
        if result["failures"]:
            raise SystemExit(f"{verb}: {result['failures']}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
