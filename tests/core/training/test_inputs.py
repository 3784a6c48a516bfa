"""Bags on their way to the device."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from src_core.bags.batch import Batch
from src_core.devices import few_threads
from src_core.embeddings.stored import Stored
from src_core.models.standardise import Standardiser
from src_core.training.inputs import Inputs

DIMS = (24, 8)


def scales() -> list[Standardiser]:
    rng = np.random.default_rng(1)
    drawn = [rng.normal(3, 2, size=(50, dim)).astype(np.float32) for dim in DIMS]
    return [Standardiser.fit([rows]) for rows in drawn]


def batch(n_bags: int, length: int, kind: Any = np.float16) -> Batch:
    """Return bags, the last of which ends in padding."""
    rng = np.random.default_rng(n_bags)
    mask = np.ones((n_bags, length), dtype=np.bool_)
    mask[-1, -3:] = False
    views = [rng.normal(3, 2, size=(n_bags, length, dim)).astype(kind) for dim in DIMS]
    return Batch(
        stored=tuple(tuple(Stored(bag, np.arange(length)) for bag in view) for view in views),
        mask=mask,
        log_share=np.zeros((n_bags, length), dtype=np.float32),
        targets=np.zeros(n_bags, dtype=np.int64),
        teachers={},
        present=np.zeros((n_bags, 0), dtype=np.bool_),
    )


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_bags_are_standardised_to_the_last_bit_as_rows_are(kind: Any) -> None:
    one = batch(3, 20, kind)
    bags = Inputs(scales(), torch.device("cpu")).bags(one).numpy()
    wide = [view.astype(np.float32) for view in one.views()]
    rows = [scale.apply(view) for scale, view in zip(scales(), wide, strict=True)]
    expected = np.concatenate(rows, axis=-1)
    assert bags.dtype == np.float32
    np.testing.assert_array_equal(bags[one.mask], expected[one.mask])


def test_bags_are_the_same_however_many_threads_gather_them() -> None:
    one = batch(5, 40)
    with few_threads(1):
        whole = Inputs(scales(), torch.device("cpu")).bags(one).clone()
    with few_threads(2):
        shared = Inputs(scales(), torch.device("cpu"))
    assert torch.equal(shared.bags(one), whole)
    assert torch.equal(shared.bags(one.in_memory()), whole)


def test_padding_is_zero_whatever_is_stored_there() -> None:
    one = batch(2, 10)
    for view in one.stored:
        view[-1].array[-3:] = np.nan
    bags = Inputs(scales(), torch.device("cpu")).bags(one)
    assert bags[torch.from_numpy(one.mask)].isfinite().all()
    assert torch.equal(bags[torch.from_numpy(~one.mask)], torch.zeros(3, 32))


def test_every_batch_uses_the_memory_of_the_largest() -> None:
    inputs = Inputs(scales(), torch.device("cpu"))
    small = inputs.bags(batch(2, 10)).clone()
    place = inputs.bags(batch(4, 20)).data_ptr()
    again = inputs.bags(batch(2, 10))
    assert again.data_ptr() == place
    assert torch.equal(again, small)


def test_a_batch_of_other_views_is_refused() -> None:
    one = batch(2, 10)
    with pytest.raises(ValueError, match="1 views where 2"):
        Inputs(scales(), torch.device("cpu")).bags(dataclasses.replace(one, stored=one.stored[:1]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_a_card_standardises_to_the_same_bits() -> None:
    one = batch(3, 20)
    here, there = (Inputs(scales(), torch.device(name)).bags(one).cpu() for name in ("cpu", "cuda"))
    assert torch.equal(here, there)
