"""The student as a whole: exact contributions, padding, order, gradients, precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src_core.models.config import StudentConfig
from src_core.models.grid_regions import lay_on_grid
from src_core.models.re_embedding import ReEmbedding
from src_core.models.student import Student, StudentOutput, centre

SIZES = {"input_dim": 12, "n_outputs": 3, "n_per_cluster": 5, "width": 16, "heads": 4}


def _config(**changes: object) -> StudentConfig:
    return StudentConfig.from_dict({**SIZES, "zero_init": False, "topk_within": 3, **changes})


def _student(**changes: object) -> Student:
    torch.manual_seed(1)
    return Student(_config(**changes)).eval()


def _bags(n: int = 2, clusters: int = 4, seed: int = 2) -> tuple[Tensor, Tensor]:
    """Bags with padding at the end of each cluster, one cluster empty."""
    drawn = torch.Generator().manual_seed(seed)
    sizes = torch.randint(2, 6, (n, clusters), generator=drawn)
    sizes[:, -1] = 0
    mask = torch.arange(5) < sizes.unsqueeze(-1)
    bags = torch.randn(n, clusters, 5, 12, generator=drawn) * mask.unsqueeze(-1)
    return bags.flatten(1, 2), mask.flatten(1)


CASES = [
    {},
    {"regions": "grid"},
    {"n_summaries": 0, "conv_kernel": 0},
    {"n_within_layers": 0},
    {"task": "regression"},
    {"task": "survival", "n_outputs": 1},
]


@pytest.mark.parametrize("changes", CASES, ids=str)
def test_contributions_add_up_to_the_logit(changes: dict[str, object]) -> None:
    student = _student(**changes)
    torch.nn.init.normal_(student.head.bias)
    bags, mask = _bags()
    output = student(bags, mask)
    contributions = student.contributions(output)
    logits = centre(output.logits) if student.config.task == "classification" else output.logits
    torch.testing.assert_close(
        contributions.sum(dim=1) + student.bias(), logits, atol=1e-4, rtol=1e-4
    )
    assert torch.equal(contributions[~mask], torch.zeros_like(contributions[~mask]))
    assert float(logits.detach().abs().max()) > 1e-2


def test_attention_is_a_distribution_over_the_real() -> None:
    bags, mask = _bags()
    output = _student()(bags, mask)
    assert torch.equal(output.attention[~mask], torch.zeros(int((~mask).sum())))
    assert float(output.attention.detach().min()) >= 0
    torch.testing.assert_close(output.attention.sum(dim=1), torch.ones(2))


def test_padding_changes_nothing() -> None:
    """More padding at the end of a block, garbage in it, whole padded clusters: the same."""
    student = _student(topk_across=2)
    bags, mask = _bags()
    before = student(bags, mask)
    garbage = bags.masked_fill(~mask.unsqueeze(-1), 1e3)
    wide = torch.cat([garbage, torch.full((2, 10, 12), -7.0)], dim=1)
    wide_mask = torch.cat([mask, torch.zeros(2, 10, dtype=torch.bool)], dim=1)
    after = student(wide, wide_mask)
    torch.testing.assert_close(after.logits, before.logits, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(after.attention[:, :20], before.attention, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(after.instances[:, :20], before.instances, atol=1e-5, rtol=1e-5)


def test_longer_blocks_change_nothing() -> None:
    """The same patches in blocks of 5 and of 8 a cluster."""
    student, wider = _student(), _student(n_per_cluster=8)
    wider.load_state_dict(student.state_dict())
    bags, mask = _bags()
    blocks, kept = bags.unflatten(1, (4, 5)), mask.unflatten(1, (4, 5))
    wide = torch.nn.functional.pad(blocks, (0, 0, 0, 3)).flatten(1, 2)
    wide_mask = torch.nn.functional.pad(kept, (0, 3)).flatten(1, 2)
    torch.testing.assert_close(
        wider(wide, wide_mask).logits, student(bags, mask).logits, atol=1e-6, rtol=1e-6
    )


def test_bag_is_scored_alone_as_in_a_batch() -> None:
    student = _student()
    bags, mask = _bags(5)
    together = student(bags, mask).logits
    alone = torch.cat([student(bags[i : i + 1], mask[i : i + 1]).logits for i in range(5)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-6)


@st.composite
def ragged(draw: st.DrawFn) -> list[list[int]]:
    """Sizes of the clusters of two to four bags, of which one may be long."""
    bags = st.lists(st.integers(0, 5), min_size=1, max_size=8)
    drawn = draw(st.lists(bags, min_size=1, max_size=3))
    return [*drawn, draw(st.sampled_from([[5], [5] * 14 + [1], [4] * 70]))]


@pytest.mark.parametrize("regions", ["cluster", "grid"])
@pytest.mark.parametrize("topk", [None, 2])
@settings(max_examples=12)
@given(sizes=ragged(), seed=st.integers(0, 9))
def test_a_bag_is_alone_what_it_is_beside_any_others(
    regions: str, topk: int | None, sizes: list[list[int]], seed: int
) -> None:
    """Whatever stands in the padding, and it learns nothing."""
    student = _student(regions=regions, topk_within=topk, topk_across=topk)
    n_clusters = max(map(len, sizes))
    filled = torch.tensor([[*own, *[0] * (n_clusters - len(own))] for own in sizes])
    mask = (torch.arange(5) < filled.unsqueeze(-1)).flatten(1)  # (bags, length)
    drawn = torch.Generator().manual_seed(seed)
    bags = torch.randn(*mask.shape, 12, generator=drawn).requires_grad_()
    together = student(bags, mask)
    for row, own in enumerate(sizes):
        length = len(own) * 5
        only, kept = bags[row : row + 1, :length].detach(), mask[row : row + 1, :length]
        alone = student(only * kept.unsqueeze(-1), kept)
        for found, wanted in (
            (together.logits[row], alone.logits[0]),
            (together.attention[row, :length], alone.attention[0]),
            (together.instances[row, :length], alone.instances[0]),
        ):
            torch.testing.assert_close(found, wanted, atol=2e-5, rtol=2e-5)
    (gradient,) = torch.autograd.grad(together.logits.square().sum(), bags)
    assert torch.equal(gradient[~mask], torch.zeros_like(gradient[~mask]))
    reached = gradient.abs().sum(dim=-1) > 0
    assert torch.equal(reached, mask), "every real patch has a say"


def test_empty_bag_scores_the_bias() -> None:
    student = _student()
    torch.nn.init.normal_(student.head.bias)
    bags = torch.zeros(1, 10, 12)
    output = student(bags, torch.zeros(1, 10, dtype=torch.bool))
    torch.testing.assert_close(output.logits[0], student.head.bias)


def test_order_of_clusters_is_free_order_inside_is_not() -> None:
    student = _student()
    bags = torch.randn(1, 20, 12)
    mask = torch.ones(1, 20, dtype=torch.bool)
    logits = student(bags, mask).logits
    clusters = bags.unflatten(1, (4, 5))
    moved = clusters[:, [2, 0, 3, 1]].flatten(1, 2)
    torch.testing.assert_close(student(moved, mask).logits, logits, atol=1e-5, rtol=1e-5)
    shuffled = clusters[:, :, [4, 2, 0, 3, 1]].flatten(1, 2)
    assert float((student(shuffled, mask).logits - logits).abs().max().detach()) > 1e-4
    plain = _student(conv_kernel=0)
    torch.testing.assert_close(
        plain(shuffled, mask).logits, plain(bags, mask).logits, atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize(
    "changes", [{}, {"regions": "grid"}, {"task": "survival", "n_outputs": 1}], ids=str
)
def test_gradient_reaches_every_parameter(changes: dict[str, object]) -> None:
    student = _student(**changes).train()
    bags, mask = _bags(4, clusters=32)  # enough that a region of the grid has more than one patch
    student(bags, mask).logits.square().sum().backward()
    dead = [
        name
        for name, one in student.named_parameters()
        if one.grad is None or float(one.grad.abs().max()) < 1e-9
    ]
    assert dead == []


def test_zero_initialised_student_is_plain_pooling_and_still_learns() -> None:
    student = _student(zero_init=True)
    bags, mask = _bags()
    instances = student(bags, mask).instances
    projected = student.re_embedding.norm(student.project(bags)) * mask.unsqueeze(-1)
    torch.testing.assert_close(instances, projected)
    optimiser = torch.optim.SGD(student.parameters(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        student(bags, mask).logits[:, 0].sum().backward()
        optimiser.step()
    still = [name for name, p in student.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_split_projection_gives_the_same_scores() -> None:
    """Each patch projected once and gathered into bags, as inference does."""
    student = _student()
    patches = torch.randn(30, 12)
    rows = torch.stack([torch.randperm(30)[:20] for _ in range(3)])
    mask = torch.ones(3, 20, dtype=torch.bool)
    once = student.forward_projected(student.project(patches)[rows], mask)
    torch.testing.assert_close(once.logits, student(patches[rows], mask).logits)


def test_log_share_counts_a_patch_as_many() -> None:
    """A patch that stands for three weighs as three copies of it."""
    student = _student(n_within_layers=0, n_summaries=0)
    patches = torch.randn(1, 5, 12)
    share = torch.tensor([[3.0, 1, 1, 1, 1]]).log()
    mask = torch.ones(1, 5, dtype=torch.bool)
    weighed = student(patches, mask, share).logits
    copied = patches[:, [0, 0, 0, 1, 2, 3, 4, 0, 0, 0]]
    copies = torch.arange(10)[None] < 7
    torch.testing.assert_close(weighed, student(copied, copies).logits, atol=1e-5, rtol=1e-5)


def test_evaluation_repeats_bit_for_bit_and_training_drops() -> None:
    student = _student()
    bags, mask = _bags()
    assert torch.equal(student(bags, mask).logits, student(bags, mask).logits)
    student.train()
    assert not torch.equal(student(bags, mask).logits, student(bags, mask).logits)


def test_seed_decides_the_weights() -> None:
    first, second = _student(), _student()
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near(dtype: torch.dtype) -> None:
    student = _student()
    bags, mask = _bags()
    wanted = student(bags, mask).logits
    cast = _student().to(dtype)(bags.to(dtype), mask)
    assert cast.logits.dtype == dtype
    torch.testing.assert_close(cast.logits.float(), wanted, atol=0.15, rtol=0.15)


def test_autocast_stays_near_and_trains() -> None:
    student = _student()
    bags, mask = _bags()
    wanted = student(bags, mask).logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output: StudentOutput = student(bags, mask)
    torch.testing.assert_close(output.logits.float(), wanted, atol=0.15, rtol=0.15)
    output.logits.float().square().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in student.parameters() if p.grad is not None)


def test_training_step_has_finite_gradients_on_ragged_bags() -> None:
    student = _student(topk_across=2).train()
    bags, mask = _bags(6)
    mask[0] = False
    student(bags * mask.unsqueeze(-1), mask).logits.square().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in student.parameters() if p.grad is not None)


@pytest.mark.parametrize("length", [1, 9, 50, 64, 65, 150])
def test_grid_keeps_every_instance_in_its_place(length: int) -> None:
    module = ReEmbedding(_config(regions="grid", zero_init=True)).eval()
    projected = torch.randn(2, length, 16)
    out = module(projected, torch.ones(2, length, dtype=torch.bool))
    torch.testing.assert_close(out, module.norm(projected))


def test_grid_regions_are_squares_of_the_square() -> None:
    """144 instances lie on a 12 x 12 square, so a region is 2 x 2 and the last ones are empty."""
    rows, places, size = lay_on_grid(torch.ones(1, 144, dtype=torch.bool))
    assert rows.tolist() == list(range(144))
    assert size == 4
    regions = torch.full((64 * 4,), -1).index_copy(0, places, rows).view(64, 4)
    assert regions[0].tolist() == [0, 1, 12, 13]
    assert regions[1].tolist() == [2, 3, 14, 15]
    assert regions[8].tolist() == [24, 25, 36, 37]
    assert regions[7].tolist() == [-1] * 4
    assert len(places.unique()) == 144


@pytest.mark.parametrize("length", [*range(1, 5), 63, 64, 65, 255, 256, 257])
def test_a_bag_lies_on_the_grid_as_beside_a_longer_one_and_without_gaps(length: int) -> None:
    alone = lay_on_grid(torch.ones(1, length, dtype=torch.bool))
    mask = torch.ones(2, 2 * length + 300, dtype=torch.bool)
    mask[0, : 2 * length : 2] = False
    mask[0, 2 * length :] = False
    beside = lay_on_grid(mask)
    assert beside.rows[:length].tolist() == list(range(1, 2 * length, 2))
    assert beside.size > alone.size
    for own, other in zip(alone.places, beside.places[:length], strict=True):
        assert own // alone.size == other // beside.size, "the same region"
        assert own % alone.size == other % beside.size, "the same place in it"


def test_bag_of_broken_clusters_is_refused() -> None:
    with pytest.raises(ValueError, match="not made of clusters of 5"):
        _student()(torch.zeros(1, 7, 12), torch.ones(1, 7, dtype=torch.bool))


def test_student_learns_a_rare_signal() -> None:
    """Bags with one odd patch in twenty against bags with none."""
    torch.manual_seed(0)
    student = Student(_config(n_outputs=2, zero_init=True, input_dropout=0.0))
    optimiser = torch.optim.AdamW(student.parameters(), lr=5e-3)
    draw: Callable[[int], tuple[Tensor, Tensor]] = _planted
    for step in range(50):
        bags, target = draw(step)
        loss = torch.nn.functional.cross_entropy(student(bags, _full(bags)).logits, target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    student.eval()
    bags, target = draw(10_000)
    right = (student(bags, _full(bags)).logits.argmax(dim=1) == target).float().mean()
    assert float(right) > 0.9


def _full(bags: Tensor) -> Tensor:
    return torch.ones(bags.shape[:2], dtype=torch.bool)


def _planted(seed: int) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    bags = torch.randn(32, 20, 12, generator=drawn)
    target = torch.arange(32) % 2
    place = torch.randint(0, 20, (32,), generator=drawn)
    bags[torch.arange(32), place, :3] += 4.0 * target[:, None]
    return bags, target
