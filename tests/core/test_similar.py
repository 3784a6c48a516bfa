from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.cli import main
from src_core.pipeline import stored_views
from src_core.project import Project
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("similar")
    for number in range(2):
        slide = SyntheticSlide(size_px=(2048, 2048), nodule_fraction=0.3, seed=number)
        write_sample_slide(folder / f"s{number}.tiff", slide)
    slides = [str(folder / f"s{number}.tiff") for number in range(2)]
    command = ["prepare", str(folder / "p"), *slides, "--encoders", "texture", "--json"]
    assert main(command) == 0
    return folder / "p"


@pytest.fixture
def root(embedded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(embedded, tmp_path / "p"))


def similar(
    capsys: pytest.CaptureFixture[str], root: Path, *options: str, status: int = 0
) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["similar", str(root), "s0", *options, "--json"]) == status
    return dict(json.loads(capsys.readouterr().out))


def test_patches_of_the_slide_come_by_their_distance(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = similar(capsys, root, "--row", "3", "--n", "6")["similar"]
    slide = Project.open(root).slide("s0")
    grid = slide.load_grid()
    (view,) = stored_views(slide, grid, ["texture"])
    whole = view.array().astype(float)
    spread = whole.std(axis=0)
    varies = spread > 1e-6 * np.abs(whole.mean(axis=0))
    assert len(found) == 6
    assert [one["row"] for one in found].count(3) == 0
    distances = [one["distance"] for one in found]
    assert distances == sorted(distances)
    for one in found:
        assert (one["x"], one["y"]) == tuple(grid.coords_xy[one["row"]])
    near = np.linalg.norm(((whole - whole[3]) / np.where(varies, spread, np.inf)), axis=1)
    expected = set(np.argsort(near)[1:13].tolist())
    assert len({one["row"] for one in found} & expected) >= 5


def test_a_patch_is_pointed_at_by_a_pixel(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = Project.open(root).slide("s0").load_grid().coords_xy[4]
    told = similar(capsys, root, "--x", str(x + 10), "--y", str(y + 200))
    assert told["row"] == 4
    assert main(["similar", str(root), "s0", "--x", "0", "--y", "0"]) == 1
    assert "no patch at 0, 0" in capsys.readouterr().err
    assert main(["similar", str(root), "s0", "--row", "99999"]) == 1
    assert "has no patch 99999" in capsys.readouterr().err
    assert main(["similar", str(root), "s0"]) == 1
    assert "give x and y, or its row" in capsys.readouterr().err


def test_the_cohort_is_looked_through(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = similar(capsys, root, "--row", "3", "--cohort", "--n", "40")["similar"]
    assert {one["slide_id"] for one in found} == {"s0", "s1"}
    assert similar(capsys, root, "--row", "3", "--cohort", "--n", "40")["similar"] == found


def test_a_space_that_was_lost_is_found_anew_for_all(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    similar(capsys, root, "--row", "3")  # the space is that of one slide
    shutil.rmtree(root / "cohort" / "spaces")
    both = similar(capsys, root, "--row", "3", "--cohort")["similar"]
    vectors = [np.load(path) for path in sorted(root.glob("slides/*/grids/*/spaces/*/*.npy"))]
    assert len(vectors) == 2
    first = next(one for one in both if one["slide_id"] == "s0")
    near = np.linalg.norm(vectors[0][3, :-1] - vectors[0][first["row"], :-1])
    assert near == pytest.approx(first["distance"], rel=1e-5)


def test_slides_of_other_weights_are_said(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = root.glob("slides/s1/lattices/*/embeddings/texture/meta.json")
    meta = json.loads(path.read_text())
    meta["recipe"]["version"] = "another"
    path.write_text(json.dumps(meta))
    told = similar(capsys, root, "--row", "3", "--cohort", status=1)
    assert {one["slide_id"] for one in told["similar"]} == {"s0"}
    assert "other weights" in told["failures"][0]["message"]


@pytest.mark.parametrize("name", ["mean", "axes", "vectors"])
def test_a_damaged_file_is_one_sentence(
    root: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    similar(capsys, root, "--row", "3")
    (path,) = root.glob(f"**/spaces/*/{name}.npy")
    np.save(path, np.load(path)[..., :-3])
    assert main(["similar", str(root), "s0", "--row", "3"]) == (0 if name == "axes" else 1)
    # Axes of another space are taken for one that was found anew: patches are stored again.
    assert (f"{name}.npy" in capsys.readouterr().err) == (name != "axes")


def test_the_space_is_of_all_slides_whichever_is_asked_about(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    similar(capsys, root, "--row", "3")
    (path,) = root.glob("cohort/spaces/*/meta.json")
    patches = [len(one.load_grid()) for one in Project.open(root).slides()]
    assert json.loads(path.read_text())["sampled"] == sum(patches)
    meta = json.loads(path.read_text())
    path.write_text(json.dumps({**meta, "sampled": 2}))  # as if there had been two then
    np.save(path.with_name("axes.npy"), np.zeros_like(np.load(path.with_name("axes.npy"))))
    found = similar(capsys, root, "--row", "3")["similar"]
    assert all(one["distance"] > 0 for one in found)


@pytest.mark.parametrize("name", ["mean", "axes", "vectors"])
def test_numbers_that_are_none_are_refused(
    root: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    similar(capsys, root, "--row", "3")
    (path,) = root.glob(f"**/spaces/*/{name}.npy")
    array = np.load(path)
    array[...] = np.nan
    np.save(path, array)
    assert main(["similar", str(root), "s0", "--row", "3"]) == 1
    assert "damaged; remove that folder" in capsys.readouterr().err
