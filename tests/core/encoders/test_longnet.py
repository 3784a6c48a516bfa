"""GigaPath's slide network in plain torch: against a naive reference, and by its names."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src_core.encoders.longnet import LongNetSlide, dilated_attention, position_codes


def naive(query: Tensor, key: Tensor, value: Tensor, segments, ratios) -> Tensor:
    """Token by token and head by head, over a dictionary of the tokens that each one sees."""
    tokens, heads, width = query.shape
    out = torch.zeros_like(query)
    for token, head in product(range(tokens), range(heads)):
        parts: list[tuple[float, Tensor]] = []
        for length, ratio in zip(segments, ratios, strict=True):
            side = min(length, tokens)
            offset = head // (heads // ratio)
            begin = token // side * side
            if (token - begin) % ratio != offset:
                continue
            # Tokens past the end are zeros, to the end of the segment and of its last stride.
            seen = range(begin + offset, begin + math.ceil(side / ratio) * ratio, ratio)
            inside = [one if one < min(begin + side, tokens) else None for one in seen]
            keys = [key[one, head] if one is not None else torch.zeros(width) for one in inside]
            values = [value[one, head] if one is not None else torch.zeros(width) for one in inside]
            scores = torch.stack([query[token, head] @ one / math.sqrt(width) for one in keys])
            power = scores.double().exp()
            parts.append((float(power.sum()), (power / power.sum()).float() @ torch.stack(values)))
        whole = sum(weight for weight, _ in parts)
        out[token, head] = sum(weight / whole * part for weight, part in parts)
    return out


@settings(max_examples=25)
@given(
    tokens=st.integers(1, 24),
    segments=st.lists(st.integers(1, 30), min_size=3, max_size=3).map(sorted),
    max_scores=st.sampled_from([1, 7, 64, 2**25]),
)
def test_dilated_attention_is_the_naive_one(
    tokens: int, segments: list[int], max_scores: int
) -> None:
    ratios = (1, 2, 4)
    generator = torch.Generator().manual_seed(tokens)
    query, key, value = (torch.randn(tokens, 4, 3, generator=generator) * 2 for _ in range(3))
    found = dilated_attention(
        query, key, value, segments=segments, ratios=ratios, max_scores=max_scores
    )
    torch.testing.assert_close(
        found, naive(query, key, value, segments, ratios), rtol=1e-4, atol=1e-5
    )


def test_one_pattern_over_everything_is_plain_attention() -> None:
    query, key, value = (torch.randn(50, 4, 8) for _ in range(3))
    found = dilated_attention(query, key, value, segments=[99], ratios=[1])
    scores = torch.einsum("qhd,khd->hqk", query, key) / math.sqrt(8)
    plain = torch.einsum("hqk,khd->qhd", scores.softmax(dim=-1), value)
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ratios", [(2, 4), (1, 3)])
def test_patterns_that_miss_a_token_are_refused(ratios: tuple[int, int]) -> None:
    x = torch.zeros(5, 4, 2)
    with pytest.raises(ValueError, match="cannot be dilated"):
        dilated_attention(x, x, x, segments=[4, 8], ratios=ratios)


def test_places_are_coded_by_the_published_formula() -> None:
    codes = position_codes(torch.tensor([[3, 5], [0, 0], [999, 998]]), 16).numpy()
    for (x, y), code in zip([(3, 5), (0, 0), (999, 998)], codes, strict=True):
        wanted = []
        for place in (y, x):  # of a picture flattened by x, then y
            angles = [place / 10_000 ** (step / 4) for step in range(4)]
            wanted += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        np.testing.assert_allclose(code, wanted, atol=1e-6)


def published_names(depth: int) -> set[str]:
    """Names of ``slide_encoder.pth`` as public code builds them."""
    parts = [f"self_attn.{one}_proj" for one in "kvq"]
    parts += ["self_attn.out_proj", "self_attn.inner_attn_ln", "self_attn_layer_norm"]
    parts += ["ffn.fc1", "ffn.fc2", "ffn.ffn_layernorm", "final_layer_norm"]
    places = [f"encoder.layers.{i}.{part}" for i in range(depth) for part in parts]
    places += ["patch_embed.proj", "encoder.layer_norm", "norm"]
    return {f"{place}.{leaf}" for place in places for leaf in ("weight", "bias")} | {"cls_token"}


def test_the_parameters_are_the_published_ones_in_name_and_number() -> None:
    with torch.device("meta"):
        model = LongNetSlide()
    assert set(model.state_dict()) == published_names(12)
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert round(millions, 1) == 86.3  # as its authors count


def test_an_entry_is_the_state_after_that_many_layers() -> None:
    torch.manual_seed(0)
    model = LongNetSlide(6, 16, 4, 3, segments=[8, 16], ratios=[1, 2]).eval()
    features, cells = torch.randn(20, 6), torch.randint(0, 9, (20, 2))
    with torch.inference_mode():
        entries = [model(features, cells, entry=entry) for entry in range(4)]
        begin = model.patch_embed["proj"](features) + position_codes(cells, 16)
        torch.testing.assert_close(entries[0], model.norm(begin.mean(dim=0)))
        model.encoder.layers = model.encoder.layers[:2]
        torch.testing.assert_close(model(features, cells, entry=2), entries[2])
    assert len({tuple(entry.tolist()) for entry in entries}) == 4
