"""A project with embeddings to give, and one that takes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from src_core.project import Project, ProjectConfig
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from tests.core.exchange.helpers import verb

CLUSTERING = {"n_clusters": 4, "n_per_cluster": 2, "n_iter": 2}


@pytest.fixture(scope="session")
def slide_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "a-slide.tiff"
    write_sample_slide(path, SyntheticSlide(size_px=(2048, 1800), mpp=0.47, seed=3))
    return path


@pytest.fixture(scope="session")
def source(slide_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with texture embeddings and clusters of the slide."""
    root = tmp_path_factory.mktemp("source") / "project"
    config = ProjectConfig.from_dict({"encoders": ["texture"], "clustering": CLUSTERING})
    Project.create(root, config)
    result = verb("prepare", project=str(root), slides=[str(slide_file)])
    assert not result["failures"]
    assert not verb("cluster", project=str(root))["failures"]
    return Project.open(root)


@pytest.fixture
def target(slide_file: Path, tmp_path: Path) -> Project:
    """A project that knows the slide and nothing of it."""
    config = ProjectConfig.from_dict({"clustering": CLUSTERING})
    project = Project.create(tmp_path / "target", config)
    project.add_slide(slide_file)
    return project


@pytest.fixture
def features(source: Project, tmp_path: Path) -> Path:
    """TRIDENT's file of the source's embeddings."""
    result = verb("export", project=str(source.root), format="trident", out=str(tmp_path / "job"))
    (files,) = result["files"].values()
    return Path(files[1])
