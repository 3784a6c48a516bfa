"""Attention-based pooling: which patches a bag's score is made of."""

from __future__ import annotations

from torch import Tensor, nn

from src_core.models.attention import masked_softmax

__all__ = ["AttentionPooling"]


class AttentionPooling(nn.Module):
    """``a = softmax(w . tanh(V z))`` over the instances of a bag (eq. 9).

    No bias on the score: the softmax forgets it.

    Parameters
    ----------
    width : int
        Length of an instance.
    hidden : int
        Rows of V.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, instances: Tensor, mask: Tensor, log_share: Tensor | None = None) -> Tensor:
        """Return the attention, shape (..., n): non-negative, 0 where padded, summing to 1.

        Parameters
        ----------
        instances : Tensor, shape (..., n, width)
        mask : Tensor of bool, shape (..., n)
        log_share : Tensor, shape (..., n), optional
            Added to the scores: the log of how many of the slide's patches one instance
            stands for, so that balanced bags do not hide how much a cluster covers.
        """
        scores = self.score(self.hidden(instances).tanh()).squeeze(-1)  # (..., n)
        if log_share is not None:
            scores = scores + log_share
        return masked_softmax(scores, mask)
