"""TransMIL against plain attention, and bags read without their padding."""

from __future__ import annotations

import math

import pytest
import torch

from src_core.models.baselines import BASELINES
from src_core.models.config import StudentConfig
from src_core.models.transmil import NystromAttention, PositionEncoding, pseudo_inverse

CONFIG = StudentConfig(input_dim=6, n_outputs=3, n_per_cluster=5, width=16, heads=2)


def attention(width: int = 16) -> NystromAttention:
    torch.manual_seed(0)
    return NystromAttention(CONFIG.replace(width=width)).eval()


def plainly(module: NystromAttention, tokens: torch.Tensor) -> torch.Tensor:
    """Return the softmax of all queries with all keys, (bags, heads, n, n)."""
    query, key, _ = tokens.matmul(module.qkv.weight.T).chunk(3, dim=-1)
    heads = [one.unflatten(2, (2, -1)).transpose(1, 2) for one in (query, key)]
    scale = math.sqrt(heads[0].shape[-1])
    return (heads[0] @ heads[1].transpose(-1, -2) / scale).softmax(dim=-1)


def test_with_a_landmark_for_every_token_it_is_plain_attention() -> None:
    module = attention()
    torch.nn.init.zeros_(module.values.weight)
    tokens = torch.randn(2, 7, 16) * 3
    value = tokens.matmul(module.qkv.weight.T).chunk(3, dim=-1)[2]
    read = plainly(module, tokens) @ value.unflatten(2, (2, -1)).transpose(1, 2)
    wanted = module.output(read.transpose(1, 2).flatten(2))
    torch.testing.assert_close(module(tokens), wanted, rtol=0.02, atol=0.02)
    row = plainly(module, tokens)[:, :, 0].mean(dim=1)
    torch.testing.assert_close(module.read(tokens)[1], row, rtol=0.02, atol=0.02)


def test_fewer_landmarks_come_close_to_plain_attention_where_tokens_repeat() -> None:
    module = attention()
    torch.nn.init.zeros_(module.values.weight)
    kinds = torch.randn(1, 8, 16) * 3
    tokens = kinds.repeat_interleave(5, dim=1)  # 40 tokens, 8 landmarks of one kind each
    value = tokens.matmul(module.qkv.weight.T).chunk(3, dim=-1)[2]
    read = plainly(module, tokens) @ value.unflatten(2, (2, -1)).transpose(1, 2)
    wanted = module.output(read.transpose(1, 2).flatten(2))
    torch.testing.assert_close(module(tokens), wanted, rtol=0.02, atol=0.02)


def test_the_inverse_is_an_inverse_and_knows_no_other_matrix() -> None:
    torch.manual_seed(0)
    matrices = (torch.randn(3, 9, 9) + 6 * torch.eye(9)).softmax(dim=-1)
    found = pseudo_inverse(matrices)
    torch.testing.assert_close(found, torch.linalg.pinv(matrices), rtol=0.01, atol=0.01)
    torch.testing.assert_close(pseudo_inverse(matrices[:1]), found[:1])


def test_positions_see_neighbours_on_the_square_and_leave_the_class_token() -> None:
    torch.manual_seed(0)
    module = PositionEncoding(4)
    tokens = torch.zeros(1, 1 + 81, 4)
    lit = tokens.clone()
    lit[0, 1 + 4 * 9 + 4] = 1.0  # the middle of a square of 9 x 9
    changed = (module(lit, 9) - module(tokens, 9)).abs().sum(dim=-1)[0]
    assert changed[0] == 0
    reached = changed[1:].unflatten(0, (9, 9)) > 0
    wanted = torch.zeros(9, 9, dtype=torch.bool)
    wanted[1:8, 1:8] = True  # the kernel of 7 patches
    assert torch.equal(reached, wanted)


@pytest.mark.parametrize("name", BASELINES)
def test_a_bag_is_scored_alike_alone_and_padded_among_longer_ones(name: str) -> None:
    torch.manual_seed(1)
    model = BASELINES[name](CONFIG).eval()
    bag = torch.randn(1, 11, 6)
    alone = model(bag, torch.ones(1, 11, dtype=torch.bool))
    bags, mask = torch.randn(3, 25, 6) * 9, torch.ones(3, 25, dtype=torch.bool)
    places = torch.tensor([0, 1, 2, 5, 6, 10, 11, 12, 13, 14, 20])
    mask[1] = False
    mask[1, places] = True
    bags[1, places] = bag[0]
    padded = model(bags, mask)
    torch.testing.assert_close(padded.logits[1], alone.logits[0])
    torch.testing.assert_close(padded.attention[1, places], alone.attention[0])
    torch.testing.assert_close(padded.instances[1, places], alone.instances[0])
    assert float(padded.instances[1, ~mask[1]].detach().abs().sum()) == 0


@pytest.mark.parametrize("n", [1, 2, 3, 5, 16, 17])
def test_bags_of_any_length_fill_a_square(n: int) -> None:
    torch.manual_seed(0)
    model = BASELINES["transmil"](CONFIG).eval()
    output = model(torch.randn(2, n, 6), torch.ones(2, n, dtype=torch.bool))
    assert output.instances.shape == (2, n, 16)
    torch.testing.assert_close(output.attention.sum(dim=1), torch.ones(2))
    torch.testing.assert_close(output.logits, model.head(output.embedding))
