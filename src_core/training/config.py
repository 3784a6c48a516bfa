"""The settings of training, importable without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self, TypeAlias

from src_core.config import Config, Help, Range
from src_core.devices import DeviceName
from src_core.errors import ConfigError
from src_core.models.config import PatchesPerCluster, Regions, StudentConfig, Width
from src_core.types import Task

__all__ = ["Preset", "TrainConfig"]

_FEWEST_BAGS = 64
_FEWEST_AT_RISK = 32

_DETAILS = dict.fromkeys(
    (
        "regions",
        "heads",
        "n_within_layers",
        "n_summaries",
        "conv_kernel",
        "input_dropout",
        "dropout",
        "pooling_width",
        "zero_init",
        "branch_focus",
        "weight_by_cluster_size",
    )
) | dict.fromkeys(("topk_within", "topk_across"), "auto")
"""Settings of the student, and what leaves each of them to the architecture."""

Preset: TypeAlias = Literal["fast", "paper", "bench"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig(Config):
    """How a student and its local branches are trained; the defaults are the preset ``fast``.

    The same settings serve every task.
    """

    architecture: Annotated[
        Literal["fast", "paper"], Help("The student's details, where nothing else is said of them")
    ] = "fast"
    width: Width = 128
    regions: Annotated[
        Regions | None,
        Help("What attends to one another first; none: as the architecture", advanced=True),
    ] = None
    heads: Annotated[
        int | None, Range(1, 64), Help("Attention heads; they divide the width", advanced=True)
    ] = None
    n_within_layers: Annotated[
        int | None, Range(0, 16), Help("Layers of attention within clusters", advanced=True)
    ] = None
    topk_within: Annotated[
        int | Literal["auto"] | None,
        Range(1, 1_024),
        Help("Patches a patch attends to; none: all", advanced=True),
    ] = "auto"
    topk_across: Annotated[
        int | Literal["auto"] | None,
        Range(1, 4_096),
        Help("Clusters a cluster attends to; none: all", advanced=True),
    ] = "auto"
    n_summaries: Annotated[
        int | None,
        Range(0, 64),
        Help("Summaries per cluster; 0: clusters do not meet", advanced=True),
    ] = None
    conv_kernel: Annotated[
        int | None,
        Range(0, 255),
        Help("Patches the positional term spans, odd; 0: no term", advanced=True),
    ] = None
    input_dropout: Annotated[
        float | None, Range(0, 0.95), Help("Dropout of the input", advanced=True)
    ] = None
    dropout: Annotated[
        float | None, Range(0, 0.95), Help("Dropout of attention layers", advanced=True)
    ] = None
    pooling_width: Annotated[
        int | None, Range(1, 4_096), Help("Width of the pooling", advanced=True)
    ] = None
    zero_init: Annotated[
        bool | None,
        Help("Attention layers start as the identity; automatic: as the architecture", True),
    ] = None
    branch_focus: Annotated[
        float | None,
        Range(0, 0.5),
        Help("Share of a bag's patches that a branch takes for decisive", advanced=True),
    ] = None
    n_per_cluster: PatchesPerCluster = 10
    repeat_short: Annotated[
        bool, Help("Fill small clusters by repetition, not padding", advanced=True)
    ] = False
    weight_by_cluster_size: Annotated[
        bool | None,
        Help(
            "Weigh each patch by how much of the slide its cluster covers; automatic: for "
            "regression and survival",
            advanced=True,
        ),
    ] = None
    n_branches: Annotated[int, Range(0, 16), Help("Local branches for the map; 0: none")] = 3
    epochs: Annotated[int, Range(1, 10_000), Help("Passes over all slides at most")] = 12
    bags_per_slide: Annotated[
        int | None,
        Range(1, 1000),
        Help("Bags of each slide in an epoch; none: 64 of all slides, of survival more"),
    ] = None
    batch_size: Annotated[
        int, Range(1, 4096), Help("Bags in a step; of survival at least 32, a patient each")
    ] = 8
    optimiser: Annotated[Literal["adamw", "sgd"], Help("Optimiser", advanced=True)] = "adamw"
    learning_rate: Annotated[float, Range(0, 10), Help("Highest learning rate")] = 5e-4
    branch_rate: Annotated[
        float, Range(0, 10), Help("Highest learning rate of the local branches", advanced=True)
    ] = 2e-3
    momentum: Annotated[float, Range(0, 0.999), Help("Momentum of sgd", advanced=True)] = 0.9
    weight_decay: Annotated[float, Range(0, 1), Help("Weight decay", advanced=True)] = 1e-2
    warmup_epochs: Annotated[
        int, Range(0, 1000), Help("Epochs in which the rate rises", advanced=True)
    ] = 1
    final_rate: Annotated[
        float, Range(0, 1), Help("Share of the rate left at the end (cosine)", advanced=True)
    ] = 0.01
    patience: Annotated[
        int | None, Range(1, 10_000), Help("Epochs without gain before stopping; none: never")
    ] = 5
    inner_fraction: Annotated[
        float, Range(0.05, 0.5), Help("Share of patients that decide when to stop", advanced=True)
    ] = 0.2
    balance: Annotated[
        float, Range(0, 1), Help("Lambda: weight of the labels against the teachers")
    ] = 0.5
    temperature: Annotated[
        float, Range(0.1, 100), Help("Tau: softens what is distilled", advanced=True)
    ] = 3.0
    direction: Annotated[
        Literal["teacher-student", "student-teacher"],
        Help("Which divergence is distilled", advanced=True),
    ] = "teacher-student"
    teacher_weight: Annotated[
        float, Range(0, 100), Help("Weight of the teachers' own task loss", advanced=True)
    ] = 0.0
    detach_teachers: Annotated[
        bool, Help("Distillation does not change what teachers say", advanced=True)
    ] = False
    probe_teachers: Annotated[
        bool, Help("Find out first which teachers know less than the views", advanced=True)
    ] = True
    weak_teachers: Annotated[
        Literal["leave-out", "weigh-down"],
        Help("What becomes of teachers that know less", advanced=True),
    ] = "leave-out"
    ties: Annotated[
        Literal["efron", "breslow"],
        Help("How survival treats events at one time", advanced=True),
    ] = "efron"
    weight_classes: Annotated[bool, Help("Weigh rare classes up in the loss", advanced=True)] = (
        False
    )
    sensitivity: Annotated[
        float,
        Range(0.5, 0.999),
        Help(
            "Of two classes: share of the second's patients that may not be called the first; of "
            "more the larger of both shares: calls that must be right",
            advanced=True,
        ),
    ] = 0.95
    specificity: Annotated[
        float,
        Range(0.5, 0.999),
        Help(
            "Of two classes: share of the first's patients that may not be called the second; of "
            "more see sensitivity",
            advanced=True,
        ),
    ] = 0.95
    n_bags: Annotated[int, Range(1, 10_000), Help("Bags of a slide at least, when scoring")] = 8
    seed: Annotated[int, Range(0, 2**31 - 1), Help("Seed of everything random")] = 2025
    device: Annotated[DeviceName, Help("Where to compute")] = "auto"

    def n_bags_per_slide(self, n_slides: int, task: Task = "classification") -> int:
        """Return how many bags of each slide an epoch has, for so many slides.

        Few slides, or the large batches of survival, make epochs of few steps, after which little
        is learned: then each slide gives more bags.
        """
        if self.bags_per_slide is not None:
            return self.bags_per_slide
        fewest = _FEWEST_BAGS * self.bags_in_step(task) // self.batch_size
        return max(1, -(-fewest // n_slides))

    @classmethod
    def preset(cls, name: Preset) -> Self:
        """Return the settings of a preset by its name.

        ``fast`` is the default; ``paper`` is as published (section 3.5 of arXiv 2510.27237 and
        its code), beside local branches, without which its map may mislead; ``bench`` is small
        enough to repeat many times.
        """
        if name == "fast":
            return cls()
        if name == "bench":
            return cls(
                width=32,
                epochs=8,
                bags_per_slide=1,
                learning_rate=2e-3,  # so few steps need larger ones
                patience=None,
                n_bags=2,
            )
        if name == "paper":
            return cls(
                architecture="paper",
                width=512,
                repeat_short=True,
                weight_by_cluster_size=False,
                epochs=60,
                bags_per_slide=50,
                batch_size=64,
                optimiser="sgd",
                learning_rate=1e-4,
                branch_rate=4e-4,
                weight_decay=5e-5,
                warmup_epochs=0,
                patience=None,
                probe_teachers=False,
                n_bags=50,
            )
        raise ConfigError(f"Preset {name!r} is unknown; choose one of fast, paper, bench.")

    def bags_in_step(self, task: Task) -> int:
        """Return how many bags a step has: of survival enough patients to compare."""
        return max(self.batch_size, _FEWEST_AT_RISK) if task == "survival" else self.batch_size

    def student(
        self, *, input_dim: int, n_outputs: int, task: Task = "classification"
    ) -> StudentConfig:
        """Return the settings of the model that is trained."""
        make = StudentConfig.paper if self.architecture == "paper" else StudentConfig.fast
        made = make(input_dim=input_dim, n_outputs=n_outputs, task=task)
        details = {
            name: value
            for name, unsaid in _DETAILS.items()
            if (value := getattr(self, name)) != unsaid
        }
        return made.replace(
            width=self.width,
            n_per_cluster=self.n_per_cluster,
            n_branches=self.n_branches,
            **details,
        )
