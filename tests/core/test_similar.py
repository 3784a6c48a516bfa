from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from src_core.cli import main
from src_core.embeddings.store import EmbeddingStore
from src_core.pipeline import stored_views
from src_core.project import Project

Answer = Callable[..., dict[str, Any]]


@pytest.fixture
def root(embedded_pair: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(embedded_pair, tmp_path / "p"))


def test_patches_of_the_slide_come_by_their_distance(root: Path, answer: Answer) -> None:
    found = answer("similar", root, "s0", "--row", "3", "--n", "6")["similar"]
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


def test_a_patch_is_pointed_at_by_a_pixel(
    root: Path, answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = Project.open(root).slide("s0").load_grid().coords_xy[4]
    told = answer("similar", root, "s0", "--x", str(x + 10), "--y", str(y + 200))
    assert told["row"] == 4
    assert main(["similar", str(root), "s0", "--x", "0", "--y", "0"]) == 1
    assert "no patch at 0, 0" in capsys.readouterr().err
    assert main(["similar", str(root), "s0", "--row", "99999"]) == 1
    assert "has no patch 99999" in capsys.readouterr().err
    assert main(["similar", str(root), "s0"]) == 1
    assert "give x and y, or its row" in capsys.readouterr().err


def test_the_cohort_is_looked_through(root: Path, answer: Answer) -> None:
    found = answer("similar", root, "s0", "--row", "3", "--cohort", "--n", "40")["similar"]
    assert {one["slide_id"] for one in found} == {"s0", "s1"}
    assert answer("similar", root, "s0", "--row", "3", "--cohort", "--n", "40")["similar"] == found


def test_a_space_that_was_lost_is_found_anew_for_all(root: Path, answer: Answer) -> None:
    answer("similar", root, "s0", "--row", "3")  # the space is that of one slide
    shutil.rmtree(root / "cohort" / "spaces")
    both = answer("similar", root, "s0", "--row", "3", "--cohort")["similar"]
    vectors = [np.load(path) for path in sorted(root.glob("slides/*/grids/*/spaces/*/*.npy"))]
    assert len(vectors) == 2
    first = next(one for one in both if one["slide_id"] == "s0")
    near = np.linalg.norm(vectors[0][3, :-1] - vectors[0][first["row"], :-1])
    assert near == pytest.approx(first["distance"], rel=1e-5)


def test_slides_of_other_weights_are_said(root: Path, answer: Answer) -> None:
    (path,) = root.glob("slides/s1/lattices/*/embeddings/texture/meta.json")
    meta = json.loads(path.read_text())
    meta["recipe"]["version"] = "another"
    path.write_text(json.dumps(meta))
    told = answer("similar", root, "s0", "--row", "3", "--cohort", status=1)
    assert {one["slide_id"] for one in told["similar"]} == {"s0"}
    assert "other weights" in told["failures"][0]["message"]


def test_the_space_is_of_all_slides_whichever_is_asked_about(root: Path, answer: Answer) -> None:
    answer("similar", root, "s0", "--row", "3")
    (path,) = root.glob("cohort/spaces/*/meta.json")
    patches = [len(one.load_grid()) for one in Project.open(root).slides()]
    assert json.loads(path.read_text())["sampled"] == sum(patches)
    meta = json.loads(path.read_text())
    path.write_text(json.dumps({**meta, "sampled": 2}))  # as if there had been two then
    _spoil(root, "axes", np.zeros_like)
    found = answer("similar", root, "s0", "--row", "3")["similar"]
    assert all(one["distance"] > 0 for one in found)


def _spoil(root: Path, name: str, spoiled: Callable[[NDArray], NDArray]) -> None:
    (path,) = root.glob(f"**/spaces/*/{name}.npy")
    np.save(path, spoiled(np.load(path)))


@pytest.mark.parametrize(
    ("name", "is_short"),
    [("mean", True), ("mean", False), ("axes", True), ("axes", False), ("vectors", True)],
)
def test_what_is_damaged_is_made_again(
    root: Path, answer: Answer, name: str, is_short: bool
) -> None:
    first = answer("similar", root, "s0", "--row", "3")
    _spoil(root, name, lambda one: one[..., :-3] if is_short else one * 2)
    assert answer("similar", root, "s0", "--row", "3") == first


def test_places_that_are_no_numbers_are_one_sentence(
    root: Path, answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    answer("similar", root, "s0", "--row", "3")
    _spoil(root, "vectors", lambda one: one * np.nan)
    assert main(["similar", str(root), "s0", "--row", "3"]) == 1
    assert "is damaged; remove that folder and ask again" in capsys.readouterr().err


def test_the_space_is_the_same_whoever_asks_first(
    root: Path, tmp_path: Path, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src_core.similar._SAMPLE", 40)  # fewer than there are, as of large slides
    other = shutil.copytree(root, tmp_path / "other")
    answer("similar", root, "s0", "--row", "3")
    answer("similar", other, "s1", "--row", "3")
    spaces = [next(one.glob("cohort/spaces/*/axes.npy")).read_bytes() for one in (root, other)]
    assert spaces[0] == spaces[1]


def test_encoders_in_another_order_have_a_space_of_their_own(root: Path, answer: Answer) -> None:
    project = Project.open(root)
    for number, slide in enumerate(project.slides()):
        grid = slide.load_grid()
        store = EmbeddingStore(slide.embeddings(grid.lattice_id))
        writer = store.open_writer("lite0", {"encoder": "lite0"}, 4)
        numbers = np.random.default_rng(number).normal(size=(len(grid), 4))
        writer.append(grid.cells, numbers.astype(np.float32))
        writer.commit()
    found = []
    for encoders in (("texture", "lite0"), ("lite0", "texture")):
        project = project.reconfigured(project.config.replace(encoders=encoders))
        answer("similar", root, "s0", "--row", "3")
        found.append(answer("similar", root, "s0", "--row", "3", "--cohort", "--n", "12"))
    distances = [[one["distance"] for one in told["similar"]] for told in found]
    np.testing.assert_allclose(distances[0], distances[1], rtol=1e-3)


def test_a_pixel_beyond_any_slide_is_refused(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["similar", str(root), "s0", "--x", "9" * 400, "--y", "0"]) != 0
    assert "Traceback" not in capsys.readouterr().err
