"""The plain models."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from src_core.models.baselines import BASELINES, fit_logistic_regression
from src_core.models.config import StudentConfig

CONFIG = StudentConfig(input_dim=6, n_outputs=3, n_per_cluster=5, width=16, heads=2)


@pytest.mark.parametrize("name", BASELINES)
def test_answers_like_the_student(name: str) -> None:
    torch.manual_seed(0)
    model = BASELINES[name](CONFIG).eval()
    bags, mask = torch.randn(4, 20, 6), torch.rand(4, 20) < 0.7
    mask[3] = False
    output = model(bags, mask)
    assert output.logits.shape == (4, 3)
    assert output.instances.shape == (4, 20, 16)
    assert float(output.attention[~mask].detach().abs().max()) == 0.0
    torch.testing.assert_close(output.attention[:3].sum(dim=1), torch.ones(3))
    torch.testing.assert_close(output.logits[3], model.head.bias)
    garbage = model(bags.masked_fill(~mask.unsqueeze(-1), 1e3), mask)
    torch.testing.assert_close(garbage.logits, output.logits)
    output.logits.sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())


def test_mean_is_a_mean_and_max_a_maximum() -> None:
    torch.manual_seed(0)
    bags, mask = torch.randn(1, 10, 6), torch.ones(1, 10, dtype=torch.bool)
    for name in ("mean-pool", "max-pool"):
        model = BASELINES[name](CONFIG).eval()
        single = model(bags.transpose(0, 1), mask.transpose(0, 1)).logits  # one patch a bag
        wanted = single.mean(dim=0) if name == "mean-pool" else single.amax(dim=0)
        torch.testing.assert_close(model(bags, mask).logits[0], wanted)


def test_share_weighs_the_mean() -> None:
    model = BASELINES["mean-pool"](CONFIG).eval()
    bags, mask = torch.randn(1, 3, 6), torch.ones(1, 3, dtype=torch.bool)
    share = torch.tensor([[2.0, 1.0, 1.0]]).log()
    copied = model(bags[:, [0, 0, 1, 2]], torch.ones(1, 4, dtype=torch.bool)).logits
    torch.testing.assert_close(model(bags, mask, share).logits, copied)


def test_logistic_regression_is_tuned_without_splitting_patients() -> None:
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(20), 3)
    targets = patients % 2
    signal = targets[:, None] * np.eye(40)[0] * 4
    embeddings = (rng.normal(size=(60, 40)) + signal).astype(np.float32)
    model = fit_logistic_regression(embeddings, targets, patients, seed=0)
    assert model.predict_proba(embeddings[:2]).shape == (2, 2)
    fresh = rng.normal(size=(200, 40)) + (np.arange(200) % 2)[:, None] * np.eye(40)[0] * 4
    assert (model.predict(fresh.astype(np.float32)) == np.arange(200) % 2).mean() > 0.7
    with pytest.raises(ValueError, match="two or more patients"):
        fit_logistic_regression(embeddings[:4], np.array([0, 0, 0, 1]), patients[:4], seed=0)


def test_a_fold_that_lacks_a_class_is_scored_all_the_same() -> None:
    rng = np.random.default_rng(0)
    targets = np.array([0, 0, 1, 0, 1, 1], dtype=np.int64)
    patients = np.array([0, 1, 1, 2, 2, 3], dtype=np.int64)
    embeddings = (rng.normal(size=(6, 4)) + 3 * targets[:, None]).astype(np.float32)
    search = fit_logistic_regression(embeddings, targets, patients, seed=0)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
