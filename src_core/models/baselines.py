"""The plain models that the student must stand beside, each tuned on its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from src_core.models.config import StudentConfig
from src_core.models.pooling import AttentionPooling
from src_core.models.re_embedding import initialise
from src_core.models.student import BagModel, Student, StudentOutput
from src_core.models.transmil import TransMil
from src_core.types import Float32, Int64

if TYPE_CHECKING:
    from sklearn.model_selection import GridSearchCV

__all__ = [
    "BASELINES",
    "AttentionMil",
    "MaxMil",
    "MeanMil",
    "R2tMil",
    "fit_logistic_regression",
]


class _Baseline(BagModel):
    """A projection, a pooling, a linear head; bags go in and come out as for the student."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__(config)
        self.linear = nn.Linear(config.input_dim, config.width)
        self.dropout = nn.Dropout(config.input_dropout)
        self.head = nn.Linear(config.width, config.n_outputs)

    def project(self, embeddings: Tensor) -> Tensor:
        """Bring standardised embeddings to the model's width; see `BagModel`."""
        out: Tensor = self.dropout(self.linear(embeddings).relu())  # (..., width)
        return out

    def forward_projected(
        self, projected: Tensor, mask: Tensor, log_share: Tensor | None = None
    ) -> StudentOutput:
        """Score bags of patches that `project` has seen, shape (bags, length, width)."""
        instances = projected * mask.unsqueeze(-1)
        attention = self._attend(instances, mask, log_share)  # (bags, length)
        embedding = (attention.unsqueeze(-2) @ instances).squeeze(-2)  # (bags, width)
        return StudentOutput(self.head(embedding), attention, instances, embedding)

    @abstractmethod
    def _attend(self, instances: Tensor, mask: Tensor, log_share: Tensor | None) -> Tensor:
        """Return the weight of each patch, shape (bags, length)."""


class MeanMil(_Baseline):
    """Every patch counts the same, or by its share of the slide."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__(config)
        initialise(self, zero_outputs=False)

    def _attend(self, instances: Tensor, mask: Tensor, log_share: Tensor | None) -> Tensor:
        share = mask.to(instances.dtype)
        if log_share is not None:
            share = share * log_share.exp()
        tiny = torch.finfo(share.dtype).tiny
        return share / share.sum(dim=-1, keepdim=True).clamp_min(tiny)


class MaxMil(MeanMil):
    """Each output is that of the patch in which it is largest."""

    def forward_projected(
        self, projected: Tensor, mask: Tensor, log_share: Tensor | None = None
    ) -> StudentOutput:
        """Score bags; `attention` is the mean over the outputs of who was largest."""
        instances = projected * mask.unsqueeze(-1)
        logits = self.head(instances)  # (bags, length, outputs)
        hidden = logits.masked_fill(~mask.unsqueeze(-1), torch.finfo(logits.dtype).min)
        best, where = hidden.max(dim=1)  # (bags, outputs)
        chosen = torch.zeros_like(logits).scatter(1, where.unsqueeze(1), 1.0)
        attention = chosen.mean(dim=-1) * mask  # (bags, length)
        empty = ~mask.any(dim=1, keepdim=True)
        embedding = (attention.unsqueeze(-2) @ instances).squeeze(-2)  # (bags, width)
        return StudentOutput(best.where(~empty, self.head.bias), attention, instances, embedding)


class AttentionMil(_Baseline):
    """AB-MIL: the student without its transformer."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__(config)
        self.pooling = AttentionPooling(config.width, config.pooling_width)
        initialise(self, zero_outputs=False)

    def _attend(self, instances: Tensor, mask: Tensor, log_share: Tensor | None) -> Tensor:
        attention: Tensor = self.pooling(instances, mask, log_share)
        return attention


class R2tMil(Student):
    """R2T-MIL: the student's arithmetic on an 8 x 8 grid of regions instead of clusters.

    One layer within the regions and one across them, and every patch attends to all of its
    region (Tang et al., Feature Re-Embedding, CVPR 2024).
    """

    def __init__(self, config: StudentConfig) -> None:
        super().__init__(
            config.replace(
                regions="grid", n_within_layers=1, topk_within=None, topk_across=None, n_branches=0
            )
        )


BASELINES: Mapping[str, type[BagModel]] = MappingProxyType(
    {
        "mean-pool": MeanMil,
        "max-pool": MaxMil,
        "ab-mil": AttentionMil,
        "transmil": TransMil,
        "r2t-mil": R2tMil,
    }
)
"""By the name of the field."""


def fit_logistic_regression(
    embeddings: Float32, targets: Int64, patients: Int64, *, seed: int
) -> GridSearchCV:
    """Fit a logistic regression on mean embeddings, its strength chosen by inner validation.

    Parameters
    ----------
    embeddings : ndarray of float32, shape (slides, dim)
        Mean of each slide's embeddings.
    targets : ndarray of int64, shape (slides,)
        Class of each slide.
    patients : ndarray of int64, shape (slides,)
        Whose slide it is; the inner folds never split a patient.
    seed : int
        Decides the inner folds.

    Returns
    -------
    GridSearchCV
        Fitted; its ``predict_proba`` reads further mean embeddings.

    Raises
    ------
    ValueError
        If a class has fewer than two patients.
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss, make_scorer
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fewest = min(len(np.unique(patients[targets == one])) for one in np.unique(targets))
    if fewest < 2:
        raise ValueError("Each class needs slides of two or more patients.")
    search = GridSearchCV(
        # Shrunken weights lie in the span of the slides: along its axes, which lose nothing, the
        # same fit has no more numbers than slides.
        make_pipeline(StandardScaler(), PCA(), LogisticRegression(max_iter=2_000)),
        {"logisticregression__C": np.logspace(-5, 1, 7)},
        # Told the classes, a fold that lacks one is scored; untold it would be NaN, and with it
        # the choice of the strength.
        scoring=make_scorer(
            log_loss,
            greater_is_better=False,
            response_method="predict_proba",
            labels=np.unique(targets),
        ),
        cv=StratifiedGroupKFold(min(5, fewest), shuffle=True, random_state=seed),
    )
    return search.fit(embeddings.astype(np.float64), targets, groups=patients)
