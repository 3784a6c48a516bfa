"""Models whose layout depends on a bag's length read every bag without its padding."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from src_core.models.student import BagModel, StudentOutput

__all__ = ["UnpaddedModel"]


class UnpaddedModel(BagModel):
    """A model without masks: bags of one number of real patches are scored together.

    So padding changes nothing, whatever the model does with the places of the patches.
    """

    @abstractmethod
    def forward_real(self, instances: Tensor, log_share: Tensor | None) -> StudentOutput:
        """Score bags of real patches only.

        Parameters
        ----------
        instances : Tensor, shape (bags, n, width)
            Projected; n is at least 1.
        log_share : Tensor, shape (bags, n), optional
            See :class:`~src_core.models.pooling.AttentionPooling`.
        """

    def forward_projected(
        self, projected: Tensor, mask: Tensor, log_share: Tensor | None = None
    ) -> StudentOutput:
        """Score bags of patches that `project` has seen, shape (bags, length, width)."""
        n_bags, length, width = projected.shape
        counts = mask.sum(dim=1)  # (bags,)
        # Of a bag without patches the head reads nothing: only its bias is left.
        embedding = projected.new_zeros(n_bags, width)
        attention = projected.new_zeros(n_bags, length)
        instances = torch.zeros_like(projected)
        for count in counts.unique().tolist():
            if not count:
                continue
            bags = (counts == count).nonzero().squeeze(1)  # (b,)
            order = mask[bags].to(torch.int8).argsort(dim=1, descending=True, stable=True)
            places = bags[:, None], order[:, :count]  # (b, count): the real patches in order
            share = None if log_share is None else log_share[places]
            output = self.forward_real(projected[places], share)
            embedding = embedding.index_copy(0, bags, output.embedding)
            attention = attention.index_put(places, output.attention)
            instances = instances.index_put(places, output.instances)
        return StudentOutput(self.head(embedding), attention, instances, embedding)
