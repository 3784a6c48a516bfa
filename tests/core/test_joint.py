from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.cli import main
from src_core.clustering.result import load_clusters
from src_core.embeddings.store import EmbeddingStore
from src_core.project import Project
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide

Answer = Callable[..., dict[str, Any]]


@pytest.fixture
def root(embedded_pair: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(embedded_pair, tmp_path / "p"))


JOINT = ("--n-clusters", 3, "--joint")


def test_slides_are_clustered_together(root: Path, tmp_path: Path, answer: Answer) -> None:
    write_sample_slide(tmp_path / "s2.tiff", SyntheticSlide(size_px=(2048, 2048), seed=2))
    answer("prepare", root, tmp_path / "s2.tiff", "--no-embed")
    told = answer("cluster", root, *JOINT, status=1)  # one slide is not ready, and says so
    assert [one["slide_id"] for one in told["failures"]] == ["s2"]
    project = Project.open(root)
    slides = [project.slide(f"s{number}") for number in range(2)]
    labels = [load_clusters(slide.joint_clusters())[0] for slide in slides]
    assert told["patches_of_cluster"] == np.bincount(np.concatenate(labels)).tolist()
    assert told["clusters"] == {f"s{n}": len(set(labels[n].tolist())) for n in range(2)}
    assert [len(one) for one in labels] == [len(slide.load_grid()) for slide in slides]
    assert slides[0].record.clusters_id is None, "bags keep to the slide's own clusters"
    assert project.slide("s2").record.joint_id is None
    assert len(list(root.glob("slides/s[01]/grids/*/scatter/*/points.npy"))) == 2


def test_a_second_run_reads_what_is_stored(
    root: Path, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = answer("cluster", root, *JOINT)

    def fail(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("it was clustered again")

    monkeypatch.setattr("src_core.clustering.joint.find_joint_clusters", fail)
    assert answer("cluster", root, *JOINT) == first


@pytest.mark.parametrize("damage", ["absent", "empty"])
@pytest.mark.parametrize("joint", [True, False])
def test_what_a_killed_run_or_damage_left_is_made_again_alike(
    root: Path, answer: Answer, joint: bool, damage: str
) -> None:
    def run() -> Path:
        if joint:
            answer("cluster", root, *JOINT)
            return Project.open(root).slide("s1").joint_clusters()
        answer("cluster", root, "--n-clusters", 3)
        return Project.open(root).slide("s1").current_clusters()

    labels = run() / "labels.npy"
    before = labels.read_bytes()
    if damage == "absent":
        labels.with_name("meta.json").unlink()
    labels.write_bytes(b"")
    assert run() == labels.parent
    assert labels.read_bytes() == before


def test_slides_of_other_weights_take_no_part(root: Path, answer: Answer) -> None:
    (path,) = root.glob("slides/s1/lattices/*/embeddings/texture/meta.json")
    meta = json.loads(path.read_text())
    meta["recipe"]["version"] = "another"
    path.write_text(json.dumps(meta))
    told = answer("cluster", root, *JOINT, status=1)
    assert set(told["clusters"]) == {"s0"}
    assert "other weights than 's0'" in told["failures"][0]["message"]


def test_an_encoder_that_tells_no_patches_apart_is_named(root: Path, answer: Answer) -> None:
    project = Project.open(root)
    for slide in project.slides():
        grid = slide.load_grid()
        store = EmbeddingStore(slide.embeddings(grid.lattice_id))
        writer = store.open_writer("lite0", {"encoder": "lite0"}, 4)
        writer.append(grid.cells, np.ones((len(grid), 4), np.float32))
        writer.commit()
    project.reconfigured(project.config.replace(encoders=("texture", "lite0")))
    told = answer("cluster", root, *JOINT)
    assert told["notes"]["s0"] == "Clustered without lite0, to which all patches are the same."


def test_the_order_in_which_slides_are_named_changes_nothing(
    root: Path, tmp_path: Path, answer: Answer
) -> None:
    other = shutil.copytree(root, tmp_path / "other")
    answer("cluster", root, *JOINT, "--slides", "s0", "s1")
    answer("cluster", other, *JOINT, "--slides", "s1", "s0")
    for name in ("s0", "s1"):
        folders = [Project.open(one).slide(name).joint_clusters() for one in (root, other)]
        assert folders[0].name == folders[1].name
        assert len({(one / "labels.npy").read_bytes() for one in folders}) == 1


def test_what_another_machine_made_of_one_slide_is_made_again(root: Path, answer: Answer) -> None:
    answer("cluster", root, *JOINT)
    first, second = (Project.open(root).slide(name).joint_clusters() for name in ("s0", "s1"))
    whole = (first / "labels.npy").read_bytes()
    labels = np.load(first / "labels.npy")
    np.save(first / "labels.npy", (labels + 1) % 3)  # whole, but of other clusters
    (second / "meta.json").unlink()
    answer("cluster", root, *JOINT)
    assert (first / "labels.npy").read_bytes() == whole


@pytest.mark.parametrize("name", ["agreement", "typical"])
@pytest.mark.parametrize("joint", [True, False])
def test_damaged_agreement_and_typical_patches_are_made_again(
    root: Path, answer: Answer, joint: bool, name: str
) -> None:
    command = JOINT if joint else ("--n-clusters", 3)
    answer("cluster", root, *command)
    (path,) = root.glob(f"slides/s0/grids/*/clusters/*/{name}.npy")
    before = path.read_bytes()
    path.write_bytes(before[:-8])
    answer("cluster", root, *command)
    assert path.read_bytes() == before


@pytest.mark.parametrize("change", [{"n_clusters": 4}, {"recipe": {"views": 5}}])
def test_clusters_whose_own_words_were_changed_are_made_again_or_read(
    root: Path, answer: Answer, change: dict[str, Any]
) -> None:
    first = answer("cluster", root, *JOINT)
    (path,) = root.glob("slides/s0/grids/*/clusters/*/meta.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert answer("cluster", root, *JOINT) == first


@pytest.mark.parametrize("joint", [True, False])
def test_what_is_not_finite_in_the_store_is_one_sentence(
    root: Path, answer: Answer, joint: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = root.glob("slides/s1/lattices/*/embeddings/texture/embeddings.npy")
    stored = np.load(path)
    stored[7] = np.nan
    np.save(path, stored)
    command = JOINT if joint else ("--n-clusters", 3)
    assert main(["cluster", str(root), *map(str, command), "--json"]) == 1
    out, err = capsys.readouterr()
    assert f"{path} is damaged: it holds NaN or infinity for patch" in out + err
    assert "Traceback" not in err
