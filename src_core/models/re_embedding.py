"""CR2T, the cluster-level re-embedding transformer."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from src_core.models.attention import AcrossClusterAttention, WithinClusterAttention
from src_core.models.config import StudentConfig
from src_core.models.dropout import Dropout
from src_core.models.grid_regions import GRID_SIDE, lay_on_grid

__all__ = ["AttendedBlocks", "ReEmbedding", "initialise"]


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
    Section 3.2 of arXiv 2510.27237. With ``regions="grid"`` the real patches of each bag are laid
    out row by row on a square that is cut into 8 x 8 regions, as R2T-MIL does.
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
        if self.config.regions == "grid":
            return self._on_grid(projected, mask)
        length, size = projected.shape[1], self.config.n_per_cluster
        if length % size:
            raise ValueError(f"A bag of {length} instances is not made of clusters of {size}.")
        blocks = projected.unflatten(1, (-1, size))  # (bags, clusters, size, width)
        kept = mask.unflatten(1, (-1, size))  # (bags, clusters, size)
        joined = self.join(self.attend(blocks, kept), kept)  # (bags, length, width)
        out: Tensor = self.norm(joined) * mask.unsqueeze(-1)
        return out

    def _on_grid(self, projected: Tensor, mask: Tensor) -> Tensor:
        """Re-embed patches, shape (bags, length, width), in regions that are cells of a grid."""
        n_bags, length, width = projected.shape
        rows, places, size = lay_on_grid(mask)
        shape = (n_bags, GRID_SIDE**2, size)
        kept = mask.new_zeros(shape).flatten().index_fill(0, places, True).view(shape)
        blocks = projected.new_zeros(kept.numel(), width)
        blocks = blocks.index_copy(0, places, projected.flatten(0, 1).index_select(0, rows))
        attended = self.attend(blocks.view(*shape, width), kept)
        joined = self.join(attended, kept)  # (bags, regions * size, width)
        real: Tensor = self.norm(joined.flatten(0, 1).index_select(0, places))  # (real, width)
        out = real.new_zeros(n_bags * length, width).index_copy(0, rows, real)
        return out.view(n_bags, length, width)

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
