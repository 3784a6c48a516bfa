"""CR2T, the cluster-level re-embedding transformer."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from src_core.models.attention import AcrossClusterAttention, WithinClusterAttention
from src_core.models.config import StudentConfig
from src_core.models.dropout import Dropout

__all__ = ["AttendedBlocks", "ReEmbedding", "initialise"]

GRID_SIDE = 8
"""Regions along each side of the square, where regions are not clusters (R2T-MIL)."""


class AttendedBlocks(NamedTuple):
    """Clusters' blocks of patches that have met one another, but no other cluster."""

    instances: Tensor
    """(..., n, width)"""
    tokens: Tensor | None
    """(..., G, width): what other clusters will read of the block; None where they do not meet."""
    share: Tensor | None
    """(..., n, G): what each patch takes back of it."""


class ReEmbedding(nn.Module):
    """Re-embed the patches of a bag in the light of their cluster and of the other clusters.

    Parameters
    ----------
    config : StudentConfig
        Its sizes.

    Notes
    -----
    Section 3.2 of arXiv 2510.27237. With ``regions="grid"`` the bag is laid out row by row on
    a square that is cut into 8 x 8 regions, as R2T-MIL does; there the layout depends on the
    bag's length, so padding changes it.
    """

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.config = config
        self.linear = nn.Linear(config.input_dim, config.width)
        self.input_dropout = Dropout(config.input_dropout)
        self.within = nn.ModuleList(
            WithinClusterAttention(
                config.width,
                heads=config.heads,
                topk=config.topk_within,
                conv_kernel=config.conv_kernel,
                dropout=config.dropout,
            )
            for _ in range(config.n_within_layers)
        )
        self.across = (
            AcrossClusterAttention(
                config.width,
                heads=config.heads,
                topk=config.topk_across,
                n_summaries=config.n_summaries,
                dropout=config.dropout,
            )
            if config.n_summaries
            else None
        )
        self.norm = nn.LayerNorm(config.width)
        initialise(self, zero_outputs=config.zero_init)

    def project(self, embeddings: Tensor) -> Tensor:
        """Bring embeddings to the student's width: (..., input_dim) to (..., width).

        Each patch stands alone here, so a slide's patches can be projected once and then
        gathered into many bags.
        """
        rows = self.linear(embeddings.reshape(-1, embeddings.shape[-1]))  # (patches, width)
        # What is dropped before the ReLU is 0 after it; this way both overwrite the same array.
        out: Tensor = self.input_dropout(rows).relu_()
        return out.view(*embeddings.shape[:-1], -1)  # (..., width)

    def forward(self, projected: Tensor, mask: Tensor) -> Tensor:
        """Re-embed projected patches.

        Parameters
        ----------
        projected : Tensor, shape (bags, length, width)
            Output of `project`, instances ordered by cluster, `n_per_cluster` each.
        mask : Tensor of bool, shape (bags, length)
            True where an instance is real; padding sits at the end of its cluster's block.

        Returns
        -------
        Tensor, shape (bags, length, width)
            0 where padded.
        """
        length = projected.shape[1]
        order, size = self._regions(length, projected.device)
        instances = projected
        if order is not None:
            real = order < length
            order = order.clamp_max(length - 1)
            kept = mask[:, order] & real  # (bags, regions * size)
            instances = instances[:, order]  # (bags, regions * size, width)
        else:
            kept = mask
        instances = instances.unflatten(1, (-1, size))  # (bags, regions, size, width)
        kept = kept.unflatten(1, (-1, size))  # (bags, regions, size)
        instances = self.join(self.attend(instances, kept), kept)  # (bags, regions * size, width)
        if order is not None:
            places = torch.nonzero(real).squeeze(1)
            instances = instances[:, places[order[places].argsort()]]  # (bags, length, width)
        out: Tensor = self.norm(instances) * mask.unsqueeze(-1)
        return out

    def attend(self, blocks: Tensor, mask: Tensor) -> AttendedBlocks:
        """Let the patches of each block read one another, and sum the block up.

        Nothing of other blocks enters: in evaluation a block that stands in many bags can pass
        here once.

        Parameters
        ----------
        blocks : Tensor, shape (..., n, width)
            Projected patches, padded rows 0.
        mask : Tensor of bool, shape (..., n)
        """
        for layer in self.within:
            blocks = layer(blocks, mask)
        if self.across is None:
            return AttendedBlocks(blocks, None, None)
        return AttendedBlocks(blocks, *self.across.summarise(blocks, mask))

    def join(self, blocks: AttendedBlocks, mask: Tensor) -> Tensor:
        """Let the blocks of each bag meet.

        Parameters
        ----------
        blocks : AttendedBlocks
            Of shape (bags, clusters, ...).
        mask : Tensor of bool, shape (bags, clusters, n)

        Returns
        -------
        Tensor, shape (bags, clusters * n, width)
            Neither normalised nor masked.
        """
        instances, tokens, share = blocks
        if self.across is not None and tokens is not None and share is not None:
            instances = instances + share @ self.across.exchange(tokens, mask.any(dim=-1))
        return instances.flatten(1, 2)  # (bags, clusters * n, width)

    def _regions(self, length: int, device: torch.device) -> tuple[Tensor | None, int]:
        """Return which instance stands at each place of each region, and a region's size.

        None where the instances stand in order already; `length` or more marks an empty place.
        """
        if self.config.regions == "cluster":
            if length % self.config.n_per_cluster:
                raise ValueError(
                    f"A bag of {length} instances is not made of clusters of "
                    f"{self.config.n_per_cluster}."
                )
            return None, self.config.n_per_cluster
        square = math.isqrt(length - 1) + 1
        side = -(-square // GRID_SIDE)  # places along a region's side
        line = torch.arange(GRID_SIDE * side, device=device)
        places = line[:, None] * square + line  # row by row on the square
        outside = (line[:, None] >= square) | (line >= square)
        places = places.masked_fill(outside, length)
        blocks = places.unflatten(0, (GRID_SIDE, side)).unflatten(2, (GRID_SIDE, side))
        return blocks.transpose(1, 2).flatten(), side * side


def initialise(module: nn.Module, *, zero_outputs: bool) -> None:
    """Set the weights as the published code does: Linear xavier-normal, biases 0.

    Parameters
    ----------
    zero_outputs : bool
        Start every attention layer as the identity. Without it cross-cluster attention may
        write the evidence of one patch into others, and the map of contributions inverts.
    """
    for name, layer in module.named_modules():
        if not isinstance(layer, nn.Linear):
            continue
        if zero_outputs and name.endswith("attention.output"):
            nn.init.zeros_(layer.weight)
        else:
            nn.init.xavier_normal_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
