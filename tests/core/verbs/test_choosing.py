"""``cluster --sweep`` and ``compare`` as they are typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from src_core.cli import main
from src_core.embeddings.store import EmbeddingStore
from src_core.preparing import prepare_grid
from src_core.progress import ignore, never
from src_core.project import Project
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide

ENCODERS = ("wide", "narrow")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two slides whose patches are of three kinds."""
    root = tmp_path_factory.mktemp("verbs")
    project = Project.create(root / "project")
    clustering = project.config.clustering.replace(n_iter=2, n_clusters=3)
    project = project.reconfigured(
        project.config.replace(encoders=list(ENCODERS), clustering=clustering.to_dict())
    )
    for seed, (name, side) in enumerate((("a", 2304), ("b", 1536))):
        write_sample_slide(root / f"{name}.tiff", SyntheticSlide(size_px=(side, side), seed=seed))
        slide = project.add_slide(root / f"{name}.tiff")
        prepare_grid(project, slide, report=ignore, stop=never)
        grid = slide.load_grid()
        store = EmbeddingStore(slide.embeddings(grid.lattice_id))
        rng = np.random.default_rng(seed)
        kind = rng.integers(0, 3, len(grid))
        for encoder, width in zip(ENCODERS, (60, 5), strict=True):
            centres = rng.normal(size=(3, width)) * 3
            writer = store.open_writer(encoder, {"encoder": encoder}, width)
            values = centres[kind] + rng.normal(size=(len(grid), width))
            writer.append(grid.cells, values.astype(np.float32))
            writer.commit()
    return project


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    main([*arguments, "--json"])
    (line,) = capsys.readouterr().out.splitlines()
    result: dict[str, Any] = json.loads(line)
    return result


def test_a_sweep_prints_a_table_saves_a_plot_and_changes_nothing(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(project.root)
    assert main(["cluster", root]) == 0
    before = [slide.record for slide in project.slides()]
    settings = (project.root / "project.json").read_bytes()
    capsys.readouterr()
    assert main(["cluster", root, "--slides", "a", "--sweep", "2:5:1"]) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[0] == "a"
    assert lines[1].split() == ["K", "found", "SC", "CH", "seconds"]
    assert [line.split()[0] for line in lines[2:6]] == ["2", "3", "4", "5"]
    (best,) = (line for line in lines[2:6] if line.split()[2].endswith("*"))
    assert best.split()[0] == "3"
    assert "SC is highest at K = 3" in printed
    assert [slide.record for slide in project.slides()] == before
    assert (project.root / "project.json").read_bytes() == settings

    result = told(capsys, "cluster", root, "--slides", "a", "--sweep", "2:5:1")
    table = result["sweeps"]["a"]
    assert [row["k"] for row in table["rows"]] == [2, 3, 4, 5]
    assert table["prefers"]["silhouette"] == 3
    assert set(table["prefers"]) == {"silhouette", "calinski_harabasz"}
    assert table["plot"] == str(project.root / "exports" / "a-sweep-2-5-1.png")
    with Image.open(table["plot"]) as plot:
        assert plot.format == "PNG"
        assert np.asarray(plot.convert("L")).std() > 5
    assert result["failures"] == []


def test_a_slide_of_too_few_patches_is_named_and_the_others_are_swept(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {slide.slide_id: len(slide.load_grid()) for slide in project.slides()}
    k = sizes["b"] + 1
    assert sizes["a"] > k
    result = told(capsys, "cluster", str(project.root), "--sweep", f"2:{k}:100")
    assert list(result["sweeps"]) == ["a"]
    assert result["failures"] == [
        {
            "slide_id": "b",
            "message": f"{sizes['b']} patches cannot form {k} clusters; try at most {sizes['b']}, "
            "or find more tissue.",
        }
    ]
    most = sizes["a"] // 10
    assert result["notes"]["a"] == (
        f"Of {sizes['a']} patches, 10 to a cluster, cluster makes {most} clusters at most."
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--sweep", "70:30"], "cluster: --sweep is '70:30'; give FROM:TO:STEP with 2 to 1000"),
        (["--sweep", "many"], "cluster: --sweep is 'many'; give FROM:TO or FROM:TO:STEP"),
        (["--sweep", "2:4", "--n-clusters", "3"], "give either it or --n-clusters"),
        (["--scheduler", "tcp://127.0.0.1:9"], "--scheduler is for numbers of clusters that are"),
    ],
)
def test_a_bad_range_is_one_sentence(
    project: Project,
    options: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["cluster", str(project.root), *options]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line


def test_compare_prints_a_table_of_every_method(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(project.root)
    assert main(["compare", root, "--slides", "a"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a"
    assert lines[1].split() == ["method", "patches", "clusters", "SC", "CH", "seconds"]
    starts = ["multi-view", "spectral, wide", "spectral, narrow", "k-means", "agglom", "affinity"]
    for line, start in zip(lines[2:8], starts, strict=True):
        assert line.strip().startswith(start)
    assert any("*" in line for line in lines[2:8])

    settings = (project.root / "project.json").read_bytes()
    result = told(capsys, "compare", root, "--n-clusters", "4")
    assert (project.root / "project.json").read_bytes() == settings
    assert list(result["comparisons"]) == ["a", "b"]
    rows = {row["method"]: row for row in result["comparisons"]["a"]["rows"]}
    assert rows["multi-view spectral"]["n_clusters"] == 4
    assert rows["affinity propagation"]["note"].startswith("its own number")
    assert result["comparisons"]["a"]["prefers"]["silhouette"] in rows


def test_a_slide_that_is_not_embedded_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sample_slide(tmp_path / "a.tiff", SyntheticSlide(size_px=(1536, 1536), seed=1))
    root = str(tmp_path / "project")
    assert main(["prepare", root, str(tmp_path / "a.tiff"), "--no-embed"]) == 0
    capsys.readouterr()
    for verb in (["compare", root], ["cluster", root, "--sweep", "2:3"]):
        assert main(verb) == 1
        assert "run Embed" in capsys.readouterr().out
