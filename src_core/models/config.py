"""The sizes of a student, checked and stored without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self, TypeAlias

from src_core.config import Config, Help, Range
from src_core.errors import ConfigError
from src_core.types import Task

__all__ = ["PatchesPerCluster", "Regions", "StudentConfig", "Task", "Width"]

PatchesPerCluster: TypeAlias = Annotated[int, Range(1, 1_024), Help("Patches per cluster in a bag")]

Width: TypeAlias = Annotated[int, Range(8, 4_096), Help("Length of a re-embedded patch")]

Regions: TypeAlias = Literal["cluster", "grid"]
"""What attends to one another first: the patches of a cluster, or of a cell of an 8 x 8 grid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentConfig(Config):
    """Everything that decides the shapes and the arithmetic of a student and its branches.

    The ranges also bound what a checkpoint of unknown origin may ask for.
    """

    input_dim: Annotated[int, Range(1, 65_536), Help("Length of the concatenated embeddings")]
    n_outputs: Annotated[int, Range(1, 20_000), Help("Classes, regression targets, or 1")]
    task: Annotated[Task, Help("Class logits, standardised values, or one log-hazard")] = (
        "classification"
    )
    n_per_cluster: PatchesPerCluster = 10
    width: Width = 512
    heads: Annotated[int, Range(1, 64), Help("Attention heads; they divide the width")] = 8
    n_within_layers: Annotated[
        int, Range(0, 16), Help("Layers of attention within clusters", advanced=True)
    ] = 2
    topk_within: Annotated[
        int | None, Range(1, 1_024), Help("Patches a patch attends to; none: all", advanced=True)
    ] = 8
    topk_across: Annotated[
        int | None, Range(1, 4_096), Help("Clusters a cluster attends to; none: all", advanced=True)
    ] = None
    n_summaries: Annotated[
        int, Range(0, 64), Help("Summaries per cluster; 0: clusters do not meet", advanced=True)
    ] = 3
    conv_kernel: Annotated[
        int, Range(0, 255), Help("Patches the positional term spans; 0: no term", advanced=True)
    ] = 15
    input_dropout: Annotated[float, Range(0, 0.95), Help("Dropout of the input", advanced=True)] = (
        0.25
    )
    dropout: Annotated[
        float, Range(0, 0.95), Help("Dropout of attention layers", advanced=True)
    ] = 0.1
    pooling_width: Annotated[int, Range(1, 4_096), Help("Width of the pooling", advanced=True)] = (
        128
    )
    regions: Annotated[Regions, Help("What attends to one another first", advanced=True)] = (
        "cluster"
    )
    zero_init: Annotated[bool, Help("Attention layers start as the identity", advanced=True)] = True
    n_branches: Annotated[
        int, Range(0, 16), Help("Local branches that draw the map; 0: none", advanced=True)
    ] = 3
    branch_focus: Annotated[
        float,
        Range(0, 0.5),
        Help("Share of a bag's patches that a branch takes for decisive", advanced=True),
    ] = 0.05
    weight_by_cluster_size: Annotated[
        bool, Help("Weigh each patch by how much of the slide its cluster covers")
    ] = False

    def __post_init__(self) -> None:
        """Check each setting, then what must hold between them."""
        Config.__post_init__(self)
        if self.width % self.heads:
            raise ConfigError(
                f"StudentConfig.width is {self.width}, which {self.heads} heads do not divide; "
                "give a multiple of the heads."
            )
        if self.conv_kernel and self.conv_kernel % 2 == 0:
            raise ConfigError(
                f"StudentConfig.conv_kernel is {self.conv_kernel}; give an odd number or 0."
            )
        if self.task == "classification" and self.n_outputs < 2:
            raise ConfigError("StudentConfig.n_outputs is 1; a classification needs 2 or more.")
        if self.task == "survival" and self.n_outputs != 1:
            raise ConfigError(
                f"StudentConfig.n_outputs is {self.n_outputs}; survival has one output."
            )

    @classmethod
    def paper(cls, *, input_dim: int, n_outputs: int, task: Task = "classification") -> Self:
        """Return the published model's settings."""
        return cls(
            input_dim=input_dim,
            n_outputs=n_outputs,
            task=task,
            topk_across=16,
            zero_init=False,
        )

    @classmethod
    def fast(cls, *, input_dim: int, n_outputs: int, task: Task = "classification") -> Self:
        """Return the default of the plugin: narrower, and starting as plain pooling."""
        return cls(
            input_dim=input_dim,
            n_outputs=n_outputs,
            task=task,
            width=256,
            weight_by_cluster_size=task != "classification",
        )
