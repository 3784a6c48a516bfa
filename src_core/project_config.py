"""The choices that hold for all slides of a project."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from src_core.clustering.result import ClusterConfig
from src_core.config import Config, Help, Range
from src_core.errors import ConfigError
from src_core.patches.grid import GridConfig
from src_core.tissue.quality import QualityConfig
from src_core.tissue.segment import TissueConfig
from src_core.training.config import TrainConfig

__all__ = ["ProjectConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectConfig(Config):
    """The choices that hold for all slides of a project (``project.json``)."""

    encoders: Annotated[tuple[str, ...], Help("Patch encoders, one view each")] = (
        "lite0",
        "texture",
    )
    teachers: Annotated[tuple[str, ...], Help("Slide encoders to distil from")] = ()
    max_patches: Annotated[
        int | None,
        Range(1, 10_000_000),
        Help("Patches of a slide that a teacher with a grid of its own reads, at most", True),
    ] = None
    tissue: TissueConfig = field(default_factory=TissueConfig)
    grid: GridConfig = field(default_factory=GridConfig)
    quality: QualityConfig = field(default_factory=QualityConfig)
    clustering: ClusterConfig = field(default_factory=ClusterConfig)
    training: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        """Check that there is something to see patches with, once."""
        Config.__post_init__(self)
        for name in ("encoders", "teachers"):
            given = getattr(self, name)
            if len(set(given)) < len(given):
                raise ConfigError(
                    f"One of ProjectConfig.{name} is named twice in {', '.join(given)}; "
                    "name each once."
                )
        if not self.encoders:
            raise ConfigError("ProjectConfig.encoders is empty; name at least one patch encoder.")
