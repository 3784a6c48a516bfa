"""Local additive branches: the map that tells the truth about where the evidence lies.

The student's own contributions add up to its logit, yet cross-cluster attention may carry the
evidence of one patch into another, and then the map points at the wrong tissue. A branch reads
the embeddings before any patch has met another, so what it attributes to a patch is in that
patch. It learns the label and to agree with the student; no gradient flows back into it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from src_core.models.attention import masked_softmax
from src_core.models.config import StudentConfig
from src_core.models.dropout import Dropout
from src_core.models.losses import Ties, softened_divergence, task_loss
from src_core.models.student import centre

__all__ = ["BranchesOutput", "LocalBranches", "ScoredPatches", "branches_loss"]


class ScoredPatches(NamedTuple):
    """What the branches say of patches before they are put into bags."""

    scores: Tensor
    """(branches, ...): what the attention is the softmax of."""
    values: Tensor
    """(branches, ..., outputs): logits of a bag's evidence if it lay in this patch alone."""


class BranchesOutput(NamedTuple):
    """What the branches say about a batch of bags."""

    logits: Tensor
    """(branches, bags, outputs)"""
    attention: Tensor
    """(branches, bags, length)"""
    contributions: Tensor
    """(branches, bags, length, outputs): sum over a bag to its logits less the bias."""
    instance_logits: Tensor
    """(branches, bags, length, outputs): evidence in each patch, 0 for none, without the bias."""


class _Weights(NamedTuple):
    """Of one branch."""

    project: Tensor
    """(input_dim, width)"""
    project_bias: Tensor
    """(1, width)"""
    hidden: Tensor
    """(width, hidden)"""
    score: Tensor
    """(hidden, 1)"""
    gate: Tensor
    """(width, width)"""
    gate_bias: Tensor
    """(1, width)"""
    value: Tensor
    """(width, outputs)"""


class LocalBranches(nn.Module):
    """Independent additive branches, whose weights lie side by side.

    Per branch, with weights of its own: ``h = dropout(relu(P x))``,
    ``a = softmax(w . tanh(V h))``, ``g = relu(M h)``, and the logits ``b + sum_i a_i U g_i``.
    Of a classification U and b are centred over the classes.

    Parameters
    ----------
    config : StudentConfig
        Its sizes; `n_branches` must be at least 1.
    """

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        if config.n_branches < 1:
            raise ValueError("LocalBranches needs a config with n_branches of 1 or more.")
        self.config = config
        n, width, hidden = config.n_branches, config.width, config.pooling_width
        self.project_weight = _weight(n, config.input_dim, width)
        self.project_bias = nn.Parameter(torch.zeros(n, 1, width))
        self.dropout = Dropout(config.input_dropout)
        self.hidden_weight = _weight(n, width, hidden)
        self.score_weight = _weight(n, hidden, 1)
        self.gate_weight = _weight(n, width, width)
        self.gate_bias = nn.Parameter(torch.zeros(n, 1, width))
        self.value_weight = _weight(n, width, config.n_outputs)
        self.output_bias = nn.Parameter(torch.zeros(n, config.n_outputs))

    def score(self, embeddings: Tensor) -> ScoredPatches:
        """Score patches, each on its own.

        Parameters
        ----------
        embeddings : Tensor, shape (..., input_dim)
            Standardised embeddings. In evaluation a slide's patches can pass here once.
        """
        rows = embeddings.flatten(0, -2)  # (patches, input_dim)
        said = [self._score(self._project(rows, one), one) for one in self._each()]
        scores, values = self._side_by_side(said)
        shape = embeddings.shape[:-1]
        return ScoredPatches(scores.unflatten(1, shape), values.unflatten(1, shape))

    def project(self, rows: Tensor) -> Tensor:
        """Bring standardised embeddings (patches, input_dim) to (branches, patches, width).

        Wide embeddings make this nearly all the work: who changes only what comes after it
        does it once, and hands it to `score_projected`.
        """
        return torch.stack([self._project(rows, one) for one in self._each()])

    def score_projected(self, projected: Tensor) -> ScoredPatches:
        """Score patches that `project` has seen, shape (branches, patches, width)."""
        each = zip(projected, self._each(), strict=True)
        return self._side_by_side([self._score(rows, one) for rows, one in each])

    def _each(self) -> Iterator[_Weights]:
        """Give the weights of one branch after the other.

        A batch of three products is dealt out whole: of two threads one would wait for the third.
        """
        weights = (
            self.project_weight, self.project_bias, self.hidden_weight, self.score_weight,
            self.gate_weight, self.gate_bias, self.value_weight,
        )  # fmt: skip
        return map(_Weights._make, zip(*(one.unbind() for one in weights), strict=True))

    def _project(self, rows: Tensor, weights: _Weights) -> Tensor:
        """Bring embeddings (patches, input_dim) to one branch's (patches, width)."""
        projected = torch.addmm(weights.project_bias, rows, weights.project)
        # What is dropped before the ReLU is 0 after it; this way both overwrite the same array.
        out: Tensor = self.dropout(projected).relu_()
        return out

    def _score(self, projected: Tensor, weights: _Weights) -> tuple[Tensor, Tensor]:
        """Return one branch's scores (patches,) and values (patches, outputs)."""
        scores = (projected @ weights.hidden).tanh_() @ weights.score  # (patches, 1)
        evidence = torch.addmm(weights.gate_bias, projected, weights.gate).relu_()
        return scores.squeeze(-1), evidence @ weights.value  # (patches, outputs)

    def _side_by_side(self, said: Sequence[tuple[Tensor, Tensor]]) -> ScoredPatches:
        scores, values = (torch.stack(parts) for parts in zip(*said, strict=True))
        return ScoredPatches(scores, centre(values) if self._centred else values)

    def pool(
        self, scored: ScoredPatches, mask: Tensor, log_share: Tensor | None = None
    ) -> BranchesOutput:
        """Pool scored patches in bags; see `forward` for `mask` and `log_share`."""
        scores, values = scored
        if log_share is not None:
            scores = scores + log_share
        attention = masked_softmax(scores, mask)  # (R, bags, length)
        contributions = attention.unsqueeze(-1) * values  # (R, bags, length, outputs)
        logits = contributions.sum(dim=-2) + self.bias().unsqueeze(1)  # (R, bags, outputs)
        return BranchesOutput(logits, attention, contributions, values)

    def forward(
        self, bags: Tensor, mask: Tensor, log_share: Tensor | None = None
    ) -> BranchesOutput:
        """Score bags by every branch.

        Parameters
        ----------
        bags : Tensor, shape (bags, length, input_dim)
            Standardised embeddings; padded rows must be finite.
        mask : Tensor of bool, shape (bags, length)
            True where an instance is real.
        log_share : Tensor, shape (bags, length), optional
            Added to the attention's scores, as in the student.
        """
        return self.pool(self.score(bags), mask, log_share)

    def patch_probabilities(self, scored: ScoredPatches) -> Tensor:
        """Return class probabilities of single patches, (..., outputs), the mean over branches.

        A branch's probability of a patch is what it would give a bag of that patch alone,
        ``softmax(b + U g)``: where all the attention lies on one patch nothing else enters.

        Raises
        ------
        ValueError
            If the task knows no classes.
        """
        if self.config.task != "classification":
            raise ValueError(f"Patches have no class probabilities in a {self.config.task}.")
        bias = self.bias().view(len(scored.values), *[1] * (scored.values.ndim - 2), -1)
        return (scored.values + bias).float().softmax(dim=-1).mean(dim=0)

    def bias(self) -> Tensor:
        """Return what a logit is without any patch, (branches, outputs); centred with classes."""
        return centre(self.output_bias) if self._centred else self.output_bias

    @property
    def _centred(self) -> bool:
        return self.config.task == "classification"


def branches_loss(
    output: BranchesOutput,
    targets: Tensor,
    student_logits: Tensor,
    mask: Tensor,
    *,
    config: StudentConfig,
    class_weights: Tensor | None = None,
    ties: Ties = "efron",
    temperature: float = 2.0,
    instance_weight: float = 0.3,
    quiet_weight: float = 0.1,
) -> Tensor:
    """Return the loss of all branches: their sum, for they share no weight.

    Task loss, plus agreement with the student, plus, for classes, a term that makes single
    patches speak: the most attended patches of a bag take its class, the least attended say
    nothing.

    Parameters
    ----------
    output : BranchesOutput
        Of the batch.
    targets, class_weights, ties
        See :func:`~src_core.models.losses.task_loss`.
    student_logits : Tensor, shape (bags, outputs)
        They are detached here.
    mask : Tensor of bool, shape (bags, length)
        As given to the branches.
    config : StudentConfig
        `task`, and `branch_focus`: the share of a bag's patches that are the most attended.
    temperature : float
        Softens both sides of the agreement.
    instance_weight, quiet_weight : float
        Weight of the last term, and of the silent patches within it.

    Notes
    -----
    With two classes the term is ``softplus(-delta)`` of the most attended patches and
    ``delta^2`` of the least, delta the patch's logit of the bag's class less the other's.
    With more, ``softplus(-delta)`` is the cross-entropy of the patch's logits, which it equals
    for two, and ``delta^2`` twice their squared length, centred, which also does.
    """
    student = student_logits.detach()
    total = output.logits.new_zeros(())
    for logits in output.logits:
        total = total + task_loss(
            logits, targets, task=config.task, class_weights=class_weights, ties=ties
        )
    total = total + _agreement(output.logits, student, config=config, temperature=temperature)
    if config.task == "classification":
        speaking = _instance_terms(output, targets, mask, config.branch_focus, quiet_weight)
        total = total + instance_weight * speaking
    return total


def _agreement(
    logits: Tensor, student: Tensor, *, config: StudentConfig, temperature: float
) -> Tensor:
    """Return the branches' distance from the student, summed over branches, mean over bags."""
    if config.task == "classification":
        apart = softened_divergence(
            logits, student, temperature=temperature, direction="teacher-student"
        )  # (R, bags)
    else:
        apart = (logits.float() - student.float()).square().mean(dim=-1)
    return apart.mean(dim=1).sum()


def _instance_terms(
    output: BranchesOutput, targets: Tensor, mask: Tensor, focus: float, quiet_weight: float
) -> Tensor:
    attention = output.attention.detach().masked_fill(~mask, -1.0)  # (R, bags, length)
    n_real = mask.sum(dim=-1, keepdim=True)  # (bags, 1)
    n_focus = (focus * n_real).ceil().clamp_min(1)
    rank = attention.argsort(dim=-1, descending=True).argsort(dim=-1)  # 0 for the most attended
    most = (rank < n_focus) & mask
    least = (rank >= n_real - n_focus) & mask
    logits = output.instance_logits.float()
    log_probability = logits.log_softmax(dim=-1)
    wanted = targets.view(1, -1, 1, 1).expand(*rank.shape, 1)
    surprise = -log_probability.gather(-1, wanted).squeeze(-1)  # (R, bags, length)
    loudness = 2 * centre(logits).square().sum(dim=-1)
    speak = (surprise * most).sum(dim=-1) / most.sum(dim=-1).clamp_min(1)  # (R, bags)
    quiet = (loudness * least).sum(dim=-1) / least.sum(dim=-1).clamp_min(1)
    return (speak + quiet_weight * quiet).mean(dim=1).sum()


def _weight(n: int, fan_in: int, fan_out: int) -> nn.Parameter:
    """Return xavier-normal weights of `n` branches, (n, fan_in, fan_out)."""
    spread = math.sqrt(2 / (fan_in + fan_out))
    return nn.Parameter(torch.randn(n, fan_in, fan_out) * spread)
