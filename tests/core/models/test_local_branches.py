"""Local branches: locality, exactness, the loss as it is defined, and a map that is right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional

from src_core.models.config import StudentConfig
from src_core.models.local_branches import BranchesOutput, LocalBranches, branches_loss
from src_core.models.student import centre

SIZES = {"input_dim": 12, "n_outputs": 3, "n_per_cluster": 5, "width": 16, "heads": 4}


def _config(**changes: object) -> StudentConfig:
    return StudentConfig.from_dict({**SIZES, **changes})


def _branches(**changes: object) -> LocalBranches:
    torch.manual_seed(1)
    module = LocalBranches(_config(**changes)).eval()
    torch.nn.init.normal_(module.output_bias)
    torch.nn.init.normal_(module.gate_bias)
    return module


def _bags(n: int = 2, length: int = 20) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(2)
    mask = torch.rand(n, length, generator=drawn) < 0.7
    return torch.randn(n, length, 12, generator=drawn), mask


@pytest.mark.parametrize("changes", [{}, {"task": "regression"}, {"n_outputs": 2}], ids=str)
def test_equals_the_formula(changes: dict[str, object]) -> None:
    module = _branches(**changes)
    bags, mask = _bags()
    output = module(bags, mask)
    for r in range(3):
        h = (bags @ module.project_weight[r] + module.project_bias[r]).relu()
        score = (h @ module.hidden_weight[r]).tanh() @ module.score_weight[r]
        a = score.squeeze(-1).masked_fill(~mask, -torch.inf).softmax(dim=1)
        g = (h @ module.gate_weight[r] + module.gate_bias[r]).relu()
        logits = module.output_bias[r] + (a[..., None] * (g @ module.value_weight[r])).sum(dim=1)
        if module.config.task == "classification":
            logits = centre(logits)
        torch.testing.assert_close(output.logits[r], logits, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(output.attention[r], a)


@pytest.mark.parametrize("changes", [{}, {"task": "regression"}], ids=str)
def test_contributions_add_up_to_the_logit(changes: dict[str, object]) -> None:
    module = _branches(**changes)
    bags, mask = _bags()
    output = module(bags, mask)
    total = output.contributions.sum(dim=2) + module.bias().unsqueeze(1)
    torch.testing.assert_close(total, output.logits, atol=1e-5, rtol=1e-5)
    assert float(output.contributions[:, ~mask].detach().abs().max()) == 0.0


def test_a_patch_speaks_for_itself_alone() -> None:
    """What stands elsewhere in the bag does not change what a patch says."""
    module = _branches()
    bags, mask = _bags()
    before = module(bags, mask)
    other = bags.clone()
    other[:, 1:] = torch.randn(2, 19, 12)
    after = module(other, mask)
    torch.testing.assert_close(before.instance_logits[:, :, 0], after.instance_logits[:, :, 0])
    assert not torch.allclose(before.instance_logits[:, :, 1], after.instance_logits[:, :, 1])


def test_padding_and_order_change_nothing() -> None:
    module = _branches()
    bags, mask = _bags()
    before = module(bags, mask).logits
    order = torch.randperm(20)
    wide = torch.cat([bags[:, order], torch.full((2, 5, 12), 1e3)], dim=1)
    wide_mask = torch.cat([mask[:, order], torch.zeros(2, 5, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(module(wide, wide_mask).logits, before, atol=1e-5, rtol=1e-5)


def test_scoring_once_and_pooling_gives_the_same() -> None:
    module = _branches()
    patches = torch.randn(30, 12)
    rows = torch.stack([torch.randperm(30)[:20] for _ in range(4)])
    mask = torch.ones(4, 20, dtype=torch.bool)
    scored = module.score(patches)
    pooled = module.pool(type(scored)(scored.scores[:, rows], scored.values[:, rows]), mask)
    direct = module(patches[rows], mask)
    torch.testing.assert_close(pooled.logits, direct.logits)
    torch.testing.assert_close(pooled.contributions, direct.contributions)


def test_patch_probability_is_that_of_a_bag_of_the_patch_alone() -> None:
    module = _branches()
    patches = torch.randn(7, 12)
    got = module.patch_probabilities(module.score(patches))
    alone = module(patches.unsqueeze(1), torch.ones(7, 1, dtype=torch.bool)).logits
    torch.testing.assert_close(got, alone.softmax(dim=-1).mean(dim=0))
    batched = module.patch_probabilities(module.score(patches.view(1, 7, 12)))
    torch.testing.assert_close(batched[0], got)
    regression = _branches(task="regression")
    with pytest.raises(ValueError, match="regression"):
        regression.patch_probabilities(regression.score(patches))


def test_branches_are_independent() -> None:
    module = _branches().train()
    bags, mask = _bags()
    module(bags, mask).logits[1].square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        touched = parameter.grad.flatten(1).abs().sum(dim=1) > 0
        assert touched.tolist() == [False, True, False], name


def _loss(output: BranchesOutput, targets: Tensor, student: Tensor, mask: Tensor) -> Tensor:
    return branches_loss(output, targets, student, mask, config=_config(n_outputs=2))


def test_loss_of_two_classes_is_the_published_one() -> None:
    """Cross-entropy + tau^2 KL + 0.3 (softplus of the most attended + 0.1 delta^2 of the least)."""
    module = _branches(n_outputs=2, branch_focus=0.2)
    bags, mask = _bags(4)
    output = module(bags, mask)
    targets = torch.tensor([0, 1, 1, 0])
    student = torch.randn(4, 2)
    wanted = torch.zeros(())
    for r in range(3):
        wanted = wanted + functional.cross_entropy(output.logits[r], targets)
        wanted = wanted + 4 * functional.kl_div(
            (output.logits[r] / 2).log_softmax(-1), (student / 2).softmax(-1), reduction="batchmean"
        )
        for b in range(4):
            real = mask[b].nonzero().flatten()
            ranked = real[output.attention[r, b, real].argsort(descending=True)]
            k = int(np.ceil(0.2 * len(real)))
            delta = output.instance_logits[r, b, :, 1] - output.instance_logits[r, b, :, 0]
            towards = delta if targets[b] else -delta
            speak = functional.softplus(-towards[ranked[:k]]).mean()
            quiet = delta[ranked[-k:]].square().mean()
            wanted = wanted + 0.3 * (speak + 0.1 * quiet) / 4
    got = branches_loss(
        output, targets, student, mask, config=_config(n_outputs=2, branch_focus=0.2)
    )
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)


def test_no_gradient_reaches_the_student() -> None:
    module = _branches(n_outputs=2)
    bags, mask = _bags()
    student = torch.randn(2, 2, requires_grad=True)
    loss = _loss(module(bags, mask), torch.tensor([0, 1]), student * 1.0, mask)
    loss.backward()
    assert student.grad is None


def test_gradient_reaches_every_parameter() -> None:
    module = _branches().train()
    bags, mask = _bags(4)
    targets = torch.tensor([0, 1, 2, 1])
    loss = branches_loss(module(bags, mask), targets, torch.randn(4, 3), mask, config=_config())
    loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert bool((parameter.grad.flatten(1).abs().sum(dim=1) > 0).all()), name


@pytest.mark.parametrize("task", ["regression", "survival"])
def test_other_tasks_have_a_loss(task: str) -> None:
    config = _config(task=task, n_outputs=1)
    module = LocalBranches(config)
    bags, mask = _bags(4)
    targets = torch.tensor([[1.0, 1], [2, 0], [2, 1], [5, 1]])
    targets = targets[:, :1] if task == "regression" else targets
    loss = branches_loss(module(bags, mask), targets, torch.randn(4, 1), mask, config=config)
    loss.backward()
    assert bool(loss.isfinite())


def test_empty_bag_is_the_bias_and_has_a_finite_loss() -> None:
    module = _branches(n_outputs=2)
    bags, mask = _bags()
    mask[0] = False
    output = module(bags, mask)
    torch.testing.assert_close(output.logits[:, 0], module.bias())
    loss = _loss(output, torch.tensor([0, 1]), torch.randn(2, 2), mask)
    loss.backward()
    assert all(bool(p.grad.isfinite().all()) for p in module.parameters() if p.grad is not None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near(dtype: torch.dtype) -> None:
    bags, mask = _bags()
    wanted = _branches()(bags, mask).logits
    got = _branches().to(dtype)(bags.to(dtype), mask).logits
    torch.testing.assert_close(got.float(), wanted, atol=0.1, rtol=0.1)


def test_config_without_branches_is_refused() -> None:
    with pytest.raises(ValueError, match="n_branches"):
        LocalBranches(_config(n_branches=0))


def test_map_finds_planted_patches() -> None:
    """Trained on bag labels alone, the mean map ranks the planted patches first."""
    config = _config(n_outputs=2, input_dropout=0.1)
    torch.manual_seed(0)
    module = LocalBranches(config)
    optimiser = torch.optim.AdamW(module.parameters(), lr=4e-3)
    for step in range(60):
        bags, targets, _ = _planted(step)
        mask = torch.ones(bags.shape[:2], dtype=torch.bool)
        student = 3.0 * torch.eye(2)[targets]
        loss = branches_loss(module(bags, mask), targets, student, mask, config=config)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    module.eval()
    bags, targets, planted = _planted(9_999)
    with torch.inference_mode():
        output = module(bags, torch.ones(bags.shape[:2], dtype=torch.bool))
    positive = targets == 1
    found = output.contributions.mean(dim=0)[positive][..., 1]
    assert roc_auc_score(planted[positive].flatten(), found.flatten()) > 0.95


def _planted(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Bags of which every second holds three odd patches in twenty."""
    drawn = torch.Generator().manual_seed(seed)
    bags = torch.randn(32, 20, 12, generator=drawn)
    targets = torch.arange(32) % 2
    planted = torch.rand(32, 20, generator=drawn).argsort(dim=1) < 3
    planted &= targets[:, None] == 1
    bags[..., :3] += 3.0 * planted[..., None]
    return bags, targets, planted
