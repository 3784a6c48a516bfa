"""Predictions of values and of hazards: in the labels' unit, adding up, stored and read back."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src_core.inference import predict_slide
from src_core.inference.export import prediction_panels, save_figure
from src_core.inference.prediction import Prediction
from src_core.models.checkpoint import Checkpoint, CheckpointMeta, EmbeddingSource
from src_core.models.config import StudentConfig
from src_core.models.local_branches import LocalBranches
from src_core.models.standardise import Standardiser
from src_core.models.student import Student

DIMS = (24, 8)


def checkpoint(
    task: Any, names: tuple[str, ...], *, n_branches: int = 2, **meta: Any
) -> Checkpoint:
    """Return a model as it is before training, with biases."""
    torch.manual_seed(0)
    config = StudentConfig(
        input_dim=sum(DIMS),
        n_outputs=len(names),
        task=task,
        width=16,
        heads=2,
        n_branches=n_branches,
        weight_by_cluster_size=True,
    )
    student = Student(config)
    torch.nn.init.constant_(student.head.bias, 0.7)
    sources = tuple(
        EmbeddingSource(name=f"planted{number}", dim=dim, licence="none")
        for number, dim in enumerate(DIMS)
    )
    return Checkpoint.of(
        CheckpointMeta(
            student=config, encoders=sources, target_name="target", classes=names, **meta
        ),
        student=student,
        branches=LocalBranches(config) if n_branches else None,
        views=[Standardiser.of(np.full(dim, 5.0), np.full(dim, 3.0)) for dim in DIMS],
    )


@pytest.fixture(scope="module")
def slide(planted: Any) -> Any:
    return planted(1, seed=3, n_patches=120).slides[0]


def predict(model: Checkpoint, slide: Any) -> Prediction:
    return predict_slide(model, slide.views, slide.labels, slide.cells, slide_id="s", device="cpu")


@pytest.mark.parametrize("n_branches", [0, 2])
def test_values_are_in_the_unit_of_the_labels(slide: Any, n_branches: int) -> None:
    names = ("TP53", "EGFR")
    plain = predict(checkpoint("regression", names, n_branches=n_branches), slide)
    scaled = checkpoint(
        "regression",
        names,
        n_branches=n_branches,
        target_mean=(10.0, -3.0),
        target_std=(2.0, 0.5),
    )
    prediction = predict(scaled, slide)
    unit = np.array([2.0, 0.5])
    np.testing.assert_allclose(prediction.logits, plain.logits * unit + [10.0, -3.0])
    np.testing.assert_allclose(prediction.spread, plain.spread * unit)
    np.testing.assert_allclose(prediction.contributions, plain.contributions * unit, rtol=1e-5)
    total = prediction.bias + prediction.contributions.sum(axis=0, dtype=np.float64)
    np.testing.assert_allclose(total, prediction.logits, atol=1e-4)
    assert not np.allclose(prediction.logits.sum(), 0, atol=1e-3), "values are not centred"
    assert prediction.by_class() == dict(zip(names, prediction.logits, strict=True))


def test_a_hazard_has_contributions_and_no_classes(slide: Any) -> None:
    columns = ("months", "event")
    model = checkpoint("survival", ("log-hazard",), target_columns=columns, per="patient")
    prediction = predict(model, slide)
    total = prediction.bias + prediction.contributions.sum(axis=0, dtype=np.float64)
    np.testing.assert_allclose(total, prediction.logits, atol=1e-4)
    assert prediction.contributions.shape == (120, 1)
    assert prediction.patch_probabilities.shape == (120, 0)
    assert prediction.probabilities.shape == (0,)
    assert (prediction.predicted, prediction.call) == ("", "")


def test_a_prediction_without_classes_is_stored_and_drawn(slide: Any, tmp_path: Path) -> None:
    model = checkpoint(
        "regression", ("TP53", "EGFR"), target_mean=(1.0, 2.0), target_std=(1.0, 1.0)
    )
    prediction = predict(model, slide)
    prediction.save(tmp_path / "p")
    assert not (tmp_path / "p" / "patch_probabilities.npy").exists()
    again = Prediction.load(tmp_path / "p")
    assert again.to_dict() == prediction.to_dict()
    np.testing.assert_array_equal(again.contributions, prediction.contributions)
    assert again.patch_probabilities.shape == (120, 0)
    panels = prediction_panels(
        again, labels=slide.labels, cells=slide.cells, shape_hw=(12, 10), stride_um=None
    )
    titles = [panel.title for panel in panels]
    assert titles == ["Clusters", "Attention", "Contribution to TP53"]
    save_figure(tmp_path / "f.png", panels)


def test_the_checkpoint_keeps_the_unit(tmp_path: Path) -> None:
    model = checkpoint("regression", ("TP53",), target_mean=(1.5,), target_std=(2.5,))
    model.save(tmp_path / "c")
    meta = Checkpoint.load(tmp_path / "c").meta
    assert (meta.target_mean, meta.target_std) == ((1.5,), (2.5,))


@pytest.mark.parametrize(
    "change",
    [
        {"target_mean": (1.0, 2.0), "target_std": (1.0, 2.0)},
        {"target_mean": (1.0,)},
        {"target_mean": (float("nan"),), "target_std": (1.0,)},
        {"target_mean": (1.0,), "target_std": (-1.0,)},
        {"likeness_axes": (3,)},
        {"likeness_axes": (3, 9)},
        {"likeness_axes": (0, 3)},
    ],
)
def test_a_checkpoint_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    meta = checkpoint("regression", ("TP53",)).meta
    with pytest.raises(Exception, match="checkpoint"):
        dataclasses.replace(meta, **change)
