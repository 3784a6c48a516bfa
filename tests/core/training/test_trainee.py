from __future__ import annotations

from typing import Any

import torch

from src_core.training.config import TrainConfig
from src_core.training.trainee import BestWeights, Trainee, _rate


def make(**changes: Any) -> Trainee:
    config = TrainConfig.preset("bench").replace(**changes)
    return Trainee(
        config.student(input_dim=32, n_outputs=2),
        {},
        config,
        class_weights=None,
        n_steps=10,
        n_warmup=2,
        device=torch.device("cpu"),
    )


def test_the_rate_rises_then_falls_to_its_final_share() -> None:
    rates = [_rate(step, 100, 10, 0.01) for step in range(101)]
    assert rates[:10] == sorted(rates[:10])
    assert max(rates) == 1.0 == rates[10]
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert abs(rates[100] - 0.01) < 1e-9


def test_each_part_keeps_the_weights_of_its_own_best_epoch() -> None:
    torch.manual_seed(0)
    best = BestWeights()
    trainee: Any = make()
    snapshots = []
    course = [
        {"student": 0.9, "branch 0": 0.5, "branch 1": 0.9, "branch 2": 0.9},
        {"student": 0.5, "branch 0": 0.9, "branch 1": 0.9, "branch 2": float("nan")},
        {"student": 0.9, "branch 0": 0.9, "branch 1": 0.5, "branch 2": float("nan")},
    ]
    for epoch, losses in enumerate(course):
        with torch.no_grad():
            for parameter in [*trainee.student.parameters(), *trainee.branches.parameters()]:
                parameter.add_(1.0)
        best.keep(trainee, losses, epoch)
        snapshots.append(
            (trainee.student.head.weight.clone(), trainee.branches.value_weight.clone())
        )
    best.restore(trainee)
    assert torch.equal(trainee.student.head.weight, snapshots[1][0])
    for branch, epoch in enumerate([0, 2, 0]):
        assert torch.equal(trainee.branches.value_weight[branch], snapshots[epoch][1][branch])
    assert best.epochs() == {"student": 1, "branch 0": 0, "branch 1": 2, "branch 2": 0}
    assert best.last_gain() == 2


def test_growing_certainty_is_no_gain() -> None:
    trainee, best = make(n_branches=0), BestWeights()
    for epoch, loss in enumerate([0.5, 0.02, 0.015, 0.012, 0.011]):
        best.keep(trainee, {"student": loss}, epoch)
    assert best.last_gain() == 1
    assert best.epochs() == {"student": 4}


def test_the_branches_learn_faster_and_teach_the_student_nothing(planted: Any) -> None:
    from src_core.bags.dataset import BagDataset, embedding_chunks
    from src_core.models.standardise import Standardiser

    slides = planted(8).slides
    scales = [Standardiser.fit(embedding_chunks(slides, view)) for view in range(2)]
    data = BagDataset(slides, scales, n_per_cluster=10, seed=0)

    def learned(n_branches: int) -> list[torch.Tensor]:
        torch.manual_seed(0)
        trainee = make(n_branches=n_branches)
        trainee.train(False)  # no dropout, whose draws would differ
        for epoch in range(3):
            for batch in data.batches(epoch, bags_per_slide=1, batch_size=4):
                trainee.step(batch)
        return list(trainee.student.parameters())

    for alone, beside in zip(learned(0), learned(3), strict=True):
        assert torch.equal(alone, beside)
