from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from src_core.cli import main
from src_core.clustering.result import load_clusters
from src_core.project import Project
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of two embedded slides and one that is not."""
    folder = tmp_path_factory.mktemp("joint")
    for number in range(3):
        slide = SyntheticSlide(size_px=(2048, 2048), nodule_fraction=0.3, seed=number)
        write_sample_slide(folder / f"s{number}.tiff", slide)
    project = str(folder / "p")
    made = [str(folder / f"s{number}.tiff") for number in range(2)]
    assert main(["prepare", project, *made, "--encoders", "texture", "--json"]) == 0
    assert main(["prepare", project, str(folder / "s2.tiff"), "--no-embed", "--json"]) == 0
    return folder / "p"


def test_slides_are_clustered_together(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["cluster", str(root), "--n-clusters", "3", "--joint", "--json"]
    assert main(command) == 1  # one slide is not ready, and says so
    told = json.loads(capsys.readouterr().out)
    assert [one["slide_id"] for one in told["failures"]] == ["s2"]
    project = Project.open(root)
    slides = [project.slide(f"s{number}") for number in range(2)]
    labels = [load_clusters(slide.joint_clusters())[0] for slide in slides]
    assert told["patches_of_cluster"] == np.bincount(np.concatenate(labels)).tolist()
    assert told["clusters"] == {f"s{n}": len(set(labels[n].tolist())) for n in range(2)}
    assert all(
        len(one) == len(slide.load_grid()) for one, slide in zip(labels, slides, strict=True)
    )
    assert slides[0].record.clusters_id is None, "bags keep to the slide's own clusters"
    assert project.slide("s2").record.joint_id is None


def test_a_second_run_reads_what_is_stored(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [
        "cluster",
        str(root),
        "--slides",
        "s0",
        "s1",
        "--n-clusters",
        "3",
        "--joint",
        "--json",
    ]
    assert main(command) == 0
    first = capsys.readouterr().out

    def fail(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("it was clustered again")

    monkeypatch.setattr("src_core.clustering.joint.find_joint_clusters", fail)
    assert main(command) == 0
    assert capsys.readouterr().out == first


def test_a_slide_that_a_killed_run_left_is_made_alike(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "cluster",
        str(root),
        "--slides",
        "s0",
        "s1",
        "--n-clusters",
        "3",
        "--joint",
        "--json",
    ]
    assert main(command) == 0
    folder = Project.open(root).slide("s1").joint_clusters()
    before = (folder / "labels.npy").read_bytes()
    (folder / "meta.json").unlink()
    (folder / "labels.npy").unlink()
    assert main(command) == 0
    assert (folder / "labels.npy").read_bytes() == before
    capsys.readouterr()


def test_slides_of_other_weights_take_no_part(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(root, tmp_path / "p"))
    (path,) = copy.glob("slides/s1/lattices/*/embeddings/texture/meta.json")
    meta = json.loads(path.read_text())
    meta["recipe"]["version"] = "another"
    path.write_text(json.dumps(meta))
    capsys.readouterr()
    command = ["cluster", str(copy), "--slides", "s0", "s1", "--joint", "--json"]
    assert main(command) == 1
    told = json.loads(capsys.readouterr().out)
    assert set(told["clusters"]) == {"s0"}
    assert "other weights than 's0'" in told["failures"][0]["message"]


def test_damaged_clusters_are_made_again(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["cluster", str(root), "--slides", "s0", "s1", "--n-clusters", "3"]
    for joint in ([], ["--joint"]):
        assert main([*command, *joint]) == 0
        slide = Project.open(root).slide("s1")
        folder = slide.joint_clusters() if joint else slide.current_clusters()
        before = (folder / "labels.npy").read_bytes()
        (folder / "labels.npy").write_bytes(b"")
        assert main([*command, *joint]) == 0
        assert (folder / "labels.npy").read_bytes() == before
    capsys.readouterr()
