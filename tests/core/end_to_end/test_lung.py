"""Carcinoma in normal lung: mosaics of LC25000 from slide files to maps that point at it.

Origins are dealt to learning and testing before any slide is built, and the colour of every
patch is normalised, so that neither memory nor colour is measured. Figures are printed
(``pytest -rP``): they are what was measured, on slides that are mosaics and no one's tissue.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from src_core.clustering.multiview import cluster_views
from src_core.clustering.quality import nmi, purity
from src_core.clustering.result import load_clusters
from src_core.cohorts import load_cohort, split_cohort
from src_core.inference.predict import predict_slide
from src_core.inference.prediction import Prediction
from src_core.pipeline import stored_views
from src_core.training.metrics import Metric, auroc
from src_core.training.trainer import fit
from tests.core.end_to_end.conftest import TEST

# A thousand patches are embedded on the CPU before the first test.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def trained(lung_project, run) -> dict[str, Any]:
    """Train on one part, score the other, as the command does."""
    root = lung_project.project.root
    run("train", project=root, device="cpu")
    return run("evaluate", project=root, device="cpu")


def test_held_back_slides_are_told_apart(trained) -> None:
    print(
        f"\nAUROC {trained['auroc']:.3f} on n = {trained['n']} held-back slides; logistic "
        f"regression on the mean embedding {trained['baseline_auroc']:.3f}"
    )
    assert trained["n"] == TEST
    assert trained["auroc"] >= 0.97


def test_contributions_and_bias_add_up_to_the_logit(lung_project, trained) -> None:
    project = lung_project.project
    for slide_id in trained["probabilities"]:
        one = Prediction.load(project.prediction(trained["run"], slide_id))
        np.testing.assert_allclose(one.bias + one.contributions.sum(axis=0), one.logits, atol=1e-4)
        assert np.isfinite(one.attention).all(), "every patch was looked at"
        assert np.isfinite(one.patch_probabilities).all()


def test_maps_point_at_the_nodule_whatever_the_seed(lung_project) -> None:
    project = lung_project.project
    learn, held_back = split_cohort(project, load_cohort(project, "label")[0])
    slide_figures, map_figures = [], []
    for seed in SEEDS:
        config = project.config.training.replace(seed=seed, device="cpu")
        checkpoint = fit(learn, config).checkpoint
        predictions = [
            predict_slide(checkpoint, one.views, one.labels, one.cells, slide_id=one.slide_id)
            for one in held_back.slides
        ]
        score = auroc([one.logits for one in predictions], held_back.targets)
        slide_figures.append(_defined(score))
        map_figures.append(_map_auroc(lung_project, predictions))
    print(f"\nslide AUROC by seed: {np.round(slide_figures, 3)}")
    print(f"map AUROC by seed:   {np.round(map_figures, 3)}, median {np.median(map_figures):.3f}")
    assert np.median(map_figures) >= 0.90
    assert min(map_figures) >= 0.5


def _map_auroc(lung_project, predictions: list[Prediction]) -> float:
    """Return how well the shown map tells the nodule's patches, mean over the positive slides."""
    figures = []
    for one in predictions:
        truth = lung_project.truth_of(one.slide_id)
        if truth.any():
            shown = one.patch_probabilities[:, one.classes.index("tumour")]
            figures.append(_defined(auroc(shown, truth)))
    assert len(figures) == TEST / 2
    return float(np.mean(figures))


def _defined(metric: Metric) -> float:
    assert metric.value is not None, metric.reason
    return metric.value


def test_fused_views_cluster_no_worse_than_their_parts(lung_project) -> None:
    """Printed: purity and NMI of clusters against normal and carcinoma, per view and fused."""
    project = lung_project.project
    config = project.config.clustering
    table: dict[str, list[tuple[float, float]]] = {"fused": [], "lite0": [], "texture": []}
    for slide_id, nodule in lung_project.truth.items():
        if not nodule.any():
            continue
        slide = project.slide(slide_id)
        truth = lung_project.truth_of(slide_id)
        labels = {"fused": load_clusters(slide.current_clusters())[0]}
        for view in stored_views(slide, slide.load_grid(), ("lite0", "texture")):
            labels[view.encoder] = cluster_views([view.array()], config).labels
        for name, found in labels.items():
            table[name].append((purity(found, truth), nmi(found, truth)))
    means = {name: np.mean(rows, axis=0) for name, rows in table.items()}
    print()
    for name, (pure, mutual) in means.items():
        print(f"{name:8} purity {pure:.3f}  NMI {mutual:.3f}")
    assert means["fused"][1] >= min(means["lite0"][1], means["texture"][1])


def test_the_same_seed_gives_the_same_bytes(lung_project) -> None:
    project = lung_project.project
    learn, held_back = split_cohort(project, load_cohort(project, "label")[0])
    config = project.config.training.replace(epochs=3, device="cpu")
    one, other = (fit(learn, config).checkpoint for _ in range(2))
    assert {k: v.numpy().tobytes() for k, v in one.tensors.items()} == {
        k: v.numpy().tobytes() for k, v in other.tensors.items()
    }
    slide = held_back.slides[1]
    predictions = [
        predict_slide(model, slide.views, slide.labels, slide.cells, slide_id=slide.slide_id)
        for model in (one, other)
    ]
    assert predictions[0].attention.tobytes() == predictions[1].attention.tobytes()
    assert predictions[0].logits.tobytes() == predictions[1].logits.tobytes()
