"""Teachers: slide-level embeddings brought to the student's width."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from src_core.models.re_embedding import initialise

__all__ = ["TeacherProjections"]


class TeacherProjections(nn.Module):
    """One linear map per teacher, to be read by the student's own head (section 3.4).

    Parameters
    ----------
    dims : mapping of str to int
        Length of each teacher's slide embedding, by its name; the order is kept.
    width : int
        The student's width.
    """

    def __init__(self, dims: Mapping[str, int], width: int) -> None:
        super().__init__()
        self.names = tuple(dims)
        self.width = width
        # A list, not a dict: a teacher's name may hold a dot, which module names may not.
        self.projections = nn.ModuleList(nn.Linear(dim, width) for dim in dims.values())
        initialise(self, zero_outputs=False)

    def forward(self, embeddings: Mapping[str, Tensor]) -> Tensor:
        """Project slide embeddings.

        Parameters
        ----------
        embeddings : mapping of str to Tensor, shape (bags, dim)
            Standardised slide embeddings of every teacher; rows of slides that a teacher has
            not seen may hold anything finite.

        Returns
        -------
        Tensor, shape (bags, teachers, width)
            In the order of `names`; ``student.head`` turns it into logits.

        Raises
        ------
        KeyError
            If a teacher is missing.
        """
        projected = [
            projection(embeddings[name])
            for name, projection in zip(self.names, self.projections, strict=True)
        ]
        return torch.stack(projected, dim=1)  # (bags, teachers, width)
