"""Filling a network with the tensors of a file: all of them, and no others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from src_core.encoders.cards import EncoderCard
from src_core.errors import WeightsUnavailableError

__all__ = ["fill", "grid_side", "misfit"]


def fill(card: EncoderCard, module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Give `module`, which may be on the meta device, the tensors of `state` as float32.

    Parameters
    ----------
    card : EncoderCard
        Whose network it is, for the message.
    module : torch.nn.Module
        Its own tensors are replaced, not written to: a network of a billion parameters is in
        memory once.
    state : mapping
        Tensors by the names of `module`.
    path : Path
        Where they are from, for the message.

    Raises
    ------
    WeightsUnavailableError
        If a tensor is missing, left over, of another shape, or no floating-point numbers.
    """
    wanted = module.state_dict()
    for name in (*sorted(wanted.keys() - state.keys()), *sorted(state.keys() - wanted.keys())):
        raise misfit(card, path, f"{name} is {'missing' if name in wanted else 'left over'}")
    for name, tensor in state.items():
        if tensor.shape != wanted[name].shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(wanted[name].shape)}"
            raise misfit(card, path, f"{name} is {shapes}")
        if not tensor.is_floating_point():
            raise misfit(card, path, f"{name} holds whole numbers")
    module.load_state_dict(
        {name: tensor.to(torch.float32) for name, tensor in state.items()},
        strict=True,
        assign=True,
    )
    module.requires_grad_(False)


def grid_side(card: EncoderCard, n_positions: int, path: Path) -> int:
    """Return the side of the square grid that `n_positions` position embeddings are for.

    Raises
    ------
    WeightsUnavailableError
        If they are for no square.
    """
    side = math.isqrt(max(n_positions, 0))
    if side < 1 or side**2 != n_positions:
        raise misfit(card, path, f"its {n_positions} position embeddings make no square")
    return side


def misfit(card: EncoderCard, path: Path, why: str) -> WeightsUnavailableError:
    """Return the error that a file is not of this network."""
    return WeightsUnavailableError(
        f"{path} does not hold the weights of {card.name}: {why}; give {card.filename} of "
        f"{card.source_url}."
    )
