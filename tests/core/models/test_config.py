"""Settings of the student: ranges, presets, and no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from src_core.errors import ConfigError
from src_core.models.config import StudentConfig


def test_survives_json() -> None:
    config = StudentConfig.paper(input_dim=4_864, n_outputs=2)
    assert StudentConfig.from_dict(config.to_dict()) == config


def test_presets() -> None:
    paper = StudentConfig.paper(input_dim=4_864, n_outputs=2)
    assert (paper.width, paper.heads, paper.n_within_layers, paper.n_per_cluster) == (512, 8, 2, 10)
    assert (paper.topk_within, paper.topk_across, paper.n_summaries) == (8, 16, 3)
    assert not paper.zero_init
    assert not paper.weight_by_cluster_size
    fast = StudentConfig.fast(input_dim=1_280, n_outputs=1, task="survival")
    assert fast.zero_init
    assert fast.weight_by_cluster_size
    assert not StudentConfig.fast(input_dim=1_280, n_outputs=2).weight_by_cluster_size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 10**9}, "from 8 to 4096"),
        ({"input_dim": 0}, "from 1 to 65536"),
        ({"width": 100, "heads": 8}, "multiple of the heads"),
        ({"conv_kernel": 14}, "odd number"),
        ({"n_outputs": 1}, "needs 2 or more"),
        ({"task": "survival", "n_outputs": 3}, "survival has one output"),
        ({"task": "guessing"}, "choose one of classification"),
        ({"regions": "lobes"}, "choose one of cluster, grid"),
        ({"dropout": 1.0}, "from 0 to 0.95"),
        ({"depth": 3}, "has no setting 'depth'"),
    ],
)
def test_impossible_settings_are_refused_in_words(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        StudentConfig.from_dict({"input_dim": 8, "n_outputs": 2, **changes})


def test_what_the_window_reads_loads_no_torch() -> None:
    code = (
        "import sys, src_core.models, src_core.models.config, src_core.models.checkpoint_meta, "
        "src_core.models.standardise; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
