"""The student: re-embedding, attention pooling, and a linear head that can be taken apart."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from src_core.models.config import StudentConfig
from src_core.models.pooling import AttentionPooling
from src_core.models.re_embedding import AttendedBlocks, ReEmbedding, initialise

__all__ = ["BagModel", "Student", "StudentOutput", "centre"]


class StudentOutput(NamedTuple):
    """What a model says about a batch of bags."""

    logits: Tensor
    """(bags, outputs)"""
    attention: Tensor
    """(bags, length): non-negative, 0 where padded, sums to 1 over a bag."""
    instances: Tensor
    """(bags, length, width): the instances that were pooled, 0 where padded."""
    embedding: Tensor
    """(bags, width): the pooled bag that the head reads."""


class BagModel(nn.Module, ABC):
    """What scores bags of patches and learns as the student does; baselines are others.

    Parameters
    ----------
    config : StudentConfig
        Its sizes.
    """

    head: nn.Linear
    """Reads a pooled bag."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def project(self, embeddings: Tensor) -> Tensor:
        """Bring standardised embeddings (..., input_dim) to the model's width, patch by patch.

        In evaluation every patch of a slide can pass here once; gather the rows into bags and
        hand them to `forward_projected`.
        """

    @abstractmethod
    def forward_projected(
        self, projected: Tensor, mask: Tensor, log_share: Tensor | None = None
    ) -> StudentOutput:
        """Score bags of patches that `project` has seen, shape (bags, length, width)."""

    def forward(self, bags: Tensor, mask: Tensor, log_share: Tensor | None = None) -> StudentOutput:
        """Score bags.

        Parameters
        ----------
        bags : Tensor, shape (bags, length, input_dim)
            Standardised embeddings, instances ordered by cluster, `n_per_cluster` to each.
            Padded rows must be finite.
        mask : Tensor of bool, shape (bags, length)
            True where an instance is real; padding sits at the end of its cluster's block.
        log_share : Tensor, shape (bags, length), optional
            Added to the attention's scores; see :class:`~src_core.models.pooling.AttentionPooling`.

        Raises
        ------
        ValueError
            If the length is no multiple of `n_per_cluster` and regions are clusters.
        """
        return self.forward_projected(self.project(bags), mask, log_share)


class Student(BagModel):
    """Score bags of patches and say what each patch contributed.

    Parameters
    ----------
    config : StudentConfig
        Its sizes.

    Notes
    -----
    Sections 3.2 and 3.3 of arXiv 2510.27237.

    Examples
    --------
    >>> import torch
    >>> config = StudentConfig(input_dim=6, n_outputs=2, n_per_cluster=4, width=16, heads=2)
    >>> student = Student(config).eval()
    >>> output = student(torch.zeros(3, 20, 6), torch.ones(3, 20, dtype=torch.bool))
    >>> output.logits.shape, output.attention.shape
    (torch.Size([3, 2]), torch.Size([3, 20]))
    """

    def __init__(self, config: StudentConfig) -> None:
        super().__init__(config)
        self.re_embedding = ReEmbedding(config)
        self.pooling = AttentionPooling(config.width, config.pooling_width)
        self.head = nn.Linear(config.width, config.n_outputs)
        initialise(self.pooling, zero_outputs=False)
        initialise(self.head, zero_outputs=False)

    def project(self, embeddings: Tensor) -> Tensor:
        """Bring standardised embeddings to the student's width; see `BagModel`."""
        return self.re_embedding.project(embeddings)

    def forward_projected(
        self, projected: Tensor, mask: Tensor, log_share: Tensor | None = None
    ) -> StudentOutput:
        """Score bags of patches that `project` has seen, shape (bags, length, width)."""
        return self._pool(self.re_embedding(projected, mask), mask, log_share)

    def forward_attended(
        self, blocks: AttendedBlocks, mask: Tensor, log_share: Tensor | None = None
    ) -> StudentOutput:
        """Score bags whose blocks have passed `re_embedding.attend`; regions must be clusters.

        Parameters
        ----------
        blocks : AttendedBlocks
            Of shape (bags, clusters, ...).
        mask, log_share : Tensor, shape (bags, length)
            As in `forward`.
        """
        re_embedding = self.re_embedding
        joined = re_embedding.join(blocks, mask.unflatten(1, blocks.instances.shape[1:3]))
        return self._pool(re_embedding.norm(joined) * mask.unsqueeze(-1), mask, log_share)

    def _pool(self, instances: Tensor, mask: Tensor, log_share: Tensor | None) -> StudentOutput:
        """Pool re-embedded patches, shape (bags, length, width), and read the head."""
        attention = self.pooling(instances, mask, log_share)  # (bags, length)
        weights = attention.to(instances.dtype).unsqueeze(-2)  # (bags, 1, length)
        embedding = (weights @ instances).squeeze(-2)  # (bags, width)
        return StudentOutput(self.head(embedding), attention, instances, embedding)

    def contributions(self, output: StudentOutput) -> Tensor:
        """Split each logit among the patches: (bags, length, outputs).

        Summed over a bag they are the logit less the bias, exactly. Of a classification both
        are centred over the classes, for a softmax fixes them only up to a shift.
        """
        values = output.instances @ self._rows().T  # (bags, length, outputs)
        return output.attention.unsqueeze(-1) * values

    def bias(self) -> Tensor:
        """Return what a logit is without any patch, shape (outputs,); centred with classes."""
        return centre(self.head.bias) if self._centred else self.head.bias

    def _rows(self) -> Tensor:
        weight = self.head.weight  # (outputs, width)
        return centre(weight.T).T if self._centred else weight

    @property
    def _centred(self) -> bool:
        return self.config.task == "classification"


def centre(logits: Tensor) -> Tensor:
    """Subtract the mean over the last axis."""
    return logits - logits.mean(dim=-1, keepdim=True)
