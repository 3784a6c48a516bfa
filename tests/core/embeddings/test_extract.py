from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.embeddings import (
    EmbeddingStore,
    embed_patches,
    load_slide_embedding,
    save_slide_embedding,
)
from src_core.errors import GridMismatchError, JobCancelled, ProjectError, StaleArtifactError
from src_core.patches import build_grid, read_patch
from src_core.progress import Progress
from src_core.slides import open_slide
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from src_core.tissue import segment_tissue


def test_every_row_is_the_embedding_of_its_patch(toys: Any, tmp_path: Path) -> None:
    slide, grid, encoder = toys.NumberedSlide(), toys.numbered_grid(), toys.ToyEncoder("a")
    store = EmbeddingStore(tmp_path, stored_as="float32")
    embed_patches(slide, grid, [encoder], store)
    view = store.view("a", grid.cells)
    assert view.recipe == encoder.card.recipe()
    assert encoder.embedded == len(view) == len(grid)
    for row in (0, 1, 777, len(grid) - 1):
        patch = read_patch(slide, grid.lattice, grid.cells[row])
        assert toys.keys_of(patch[None]) == row
        assert (view.rows([row]) == encoder.encode(patch[None])).all()


def test_one_read_pass_feeds_all_encoders(toys: Any, tmp_path: Path) -> None:
    grid = toys.numbered_grid()
    reads = []

    class Counting(toys.NumberedSlide):  # type: ignore[name-defined,misc]
        def read_region(self, xy: Any, level: int, size: Any) -> Any:
            reads.append(xy)
            return super().read_region(xy, level, size)

    store = EmbeddingStore(tmp_path)
    embed_patches(Counting(), grid, [toys.ToyEncoder("a")], store)
    alone = len(reads)
    encoders = [toys.ToyEncoder(name) for name in "bcd"]
    embed_patches(Counting(), grid, encoders, store)
    assert len(reads) == 2 * alone
    assert store.encoders() == ("a", "b", "c", "d")


def test_a_changed_mask_embeds_only_the_new_cells(toys: Any, tmp_path: Path) -> None:
    slide, store = toys.NumberedSlide(), EmbeddingStore(tmp_path)
    small, whole = toys.numbered_grid(skip=100), toys.numbered_grid()
    a, b = toys.ToyEncoder("a"), toys.ToyEncoder("b")
    embed_patches(slide, small, [a], store)
    assert a.embedded == len(small)
    before = store.view("a", small.cells).array()
    embed_patches(slide, whole, [a, b], store)
    assert a.embedded == len(whole), "only 100 more"
    assert b.embedded == len(whole)
    embed_patches(slide, small, [a, b], store)
    assert (a.embedded, b.embedded) == (len(whole), len(whole)), "a smaller mask needs nothing"
    assert (store.view("a", small.cells).array() == before).all()


def test_progress_rises_to_the_end_and_tells_the_rate(toys: Any, tmp_path: Path) -> None:
    grid = toys.numbered_grid()
    reports: list[Progress] = []
    store = EmbeddingStore(tmp_path)
    embed_patches(toys.NumberedSlide(), grid, [toys.ToyEncoder("a")], store, report=reports.append)
    done = [report.done for report in reports]
    assert done == sorted(done)
    assert (done[0], done[-1], reports[-1].total) == (0, len(grid), len(grid))
    assert "patches/s" in reports[-1].detail
    reports.clear()
    embed_patches(toys.NumberedSlide(), grid, [toys.ToyEncoder("a")], store, report=reports.append)
    assert [(report.done, report.total) for report in reports] == [(len(grid), len(grid))]


def test_a_slow_encoder_stops_within_a_second_and_loses_nothing(toys: Any, tmp_path: Path) -> None:
    slide, grid, store = toys.NumberedSlide(), toys.numbered_grid(), EmbeddingStore(tmp_path)
    slow = toys.ToyEncoder("a", seconds=0.03)  # 33 patches a second, as lite0 on two cores
    began = time.monotonic()
    asked: list[float] = []

    def stop() -> bool:
        if time.monotonic() - began > 2.5:
            asked.append(time.monotonic())
            return True
        return False

    gaps, last = [], began

    def watching() -> bool:
        nonlocal last
        now = time.monotonic()
        gaps.append(now - last)
        last = now
        return stop()

    with pytest.raises(JobCancelled):
        embed_patches(slide, grid, [slow], store, stop=watching)
    assert time.monotonic() - asked[0] < 0.5, "answered at once"
    assert max(gaps) < 1.0
    embedded = slow.embedded
    fast = toys.ToyEncoder("a")
    embed_patches(slide, grid, [fast], store)
    assert fast.embedded == len(grid) - embedded


def test_an_encoder_is_handed_what_it_computes_at_once(toys: Any, tmp_path: Path) -> None:
    class Wide(toys.ToyEncoder):  # type: ignore[name-defined,misc]
        def encode(self, patches: Any) -> Any:
            handed.append(len(patches))
            return super().encode(patches)

    handed: list[int] = []
    grid, wide = toys.numbered_grid(skip=8700), Wide("a", batch_size=96, seconds=0.002)
    embed_patches(toys.NumberedSlide(), grid, [wide], EmbeddingStore(tmp_path))
    assert sum(handed) == len(grid) == 400
    assert handed[0] == 96
    assert all(size % 96 == 0 for size in handed[:-1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has neither fork nor SIGKILL")
def test_prepare_killed_at_twenty_random_moments_ends_in_the_same_bytes(
    script: Path, tmp_path: Path, project_root: Path
) -> None:
    """Tissue, grid, two encoders and the commit, cut off anywhere."""
    slide = tmp_path / "slide.tiff"
    write_sample_slide(slide, SyntheticSlide(size_px=(1536, 1536), seed=3))
    seed = secrets.randbelow(10**6)
    print(f"seed {seed}")
    command = [sys.executable, str(script.with_name("killed_prepare.py")), str(slide)]
    done = subprocess.run(
        [*command, str(tmp_path), str(seed)],
        env={**os.environ, "PYTHONPATH": str(project_root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    safe = json.loads(done.stdout)["safe"]
    assert sum(map(len, safe)) == 20
    assert any(len(set(rows)) > 1 for rows in safe), "runs went on from one another"
    whole = _stored(tmp_path / "whole")
    for number in range(1, len(safe) + 1):
        project = tmp_path / f"killed-{number}"
        stored = _stored(project)
        assert sorted(stored) == sorted(whole)
        assert [path for path in whole if stored[path] != whole[path]] == []
        assert not list(project.rglob("parts"))
    (grid,) = (np.load(path) for path in (tmp_path / "whole").rglob("grids/*/cells.npy"))
    for path in (tmp_path / "whole").rglob("embeddings/*/cells.npy"):
        assert np.array_equal(np.unique(np.load(path), axis=0), np.unique(grid, axis=0))
        assert len(np.load(path)) == len(grid), "no patch twice"


def _stored(project: Path) -> dict[str, bytes]:
    """Return every file of a project but those that a kill may leave, which name themselves."""
    return {
        str(path.relative_to(project)): path.read_bytes()
        for path in sorted(project.rglob("*"))
        if path.is_file() and path.suffix not in (".tmp", ".lock") and path.name != ".lock"
    }


def test_another_recipe_is_embedded_again_and_the_old_one_deleted_when_it_is_whole(
    toys: Any, tmp_path: Path
) -> None:
    slide, grid, store = toys.NumberedSlide(), toys.numbered_grid(), EmbeddingStore(tmp_path)
    embed_patches(slide, grid, [toys.ToyEncoder("a")], store)
    view = store.view("a", grid.cells)
    other, aside = toys.ToyEncoder("a", dim=7), tmp_path / "+set_aside" / "a"
    with pytest.raises(JobCancelled):
        embed_patches(slide, grid, [other], store, stop=lambda: other.calls == 3)
    assert [len(np.load(one / "cells.npy")) for one in aside.iterdir()] == [len(grid)], "kept"
    assert store.encoders() == (), "and not in use"
    with pytest.raises(GridMismatchError, match="made again meanwhile; run this again"):
        view.rows([0])  # of a training that was under way
    shortfall = embed_patches(slide, grid, [other], store)
    assert shortfall.notes == ("Embedded again by a, for its dim changed from 8 to 7.",)
    assert other.embedded == len(grid), "the run that was stopped is gone on with"
    assert not aside.exists()
    assert store.view("a", grid.cells).dim == 7
    with pytest.raises(GridMismatchError, match="made again meanwhile; run this again"):
        view.rows([0])
    assert embed_patches(slide, grid, [other], store).notes == ()


def test_who_goes_back_before_the_new_ones_are_whole_has_lost_nothing(
    toys: Any, tmp_path: Path
) -> None:
    slide, grid, store = toys.NumberedSlide(), toys.numbered_grid(), EmbeddingStore(tmp_path)
    first, second = toys.ToyEncoder("a"), toys.ToyEncoder("a", dim=7)
    embed_patches(slide, grid, [first], store)
    before = store.view("a", grid.cells).array()
    with pytest.raises(JobCancelled):
        embed_patches(slide, grid, [second], store, stop=lambda: second.calls == 3)
    first.embedded = 0
    embed_patches(slide, grid, [first], store)
    assert first.embedded == 0
    assert np.array_equal(store.view("a", grid.cells).array(), before)
    assert not (tmp_path / "+set_aside" / "a").exists()


def test_what_another_program_made_is_never_set_aside(toys: Any, tmp_path: Path) -> None:
    slide, grid, store = toys.NumberedSlide(), toys.numbered_grid(), EmbeddingStore(tmp_path)
    writer = store.open_writer("a", {"imported": "STAMP", "encoder": "a", "dim": 8}, 8)
    writer.append(grid.cells[:1], np.zeros((1, 8), np.float32))
    writer.commit()
    other, new = toys.ToyEncoder("a"), toys.ToyEncoder("new")
    shortfall = embed_patches(slide, grid, [other, new], store)
    assert other.calls == 0
    assert isinstance(shortfall.failed["a"], StaleArtifactError)
    assert "imported = 'STAMP'" in str(shortfall.failed["a"])
    assert new.embedded == len(grid), "the other encoder is not held up"
    with pytest.raises(ValueError, match="twice"):
        embed_patches(slide, grid, [toys.ToyEncoder("b"), toys.ToyEncoder("b")], store)


def test_a_real_slide_is_embedded(toys: Any, small_slide: Path, tmp_path: Path) -> None:
    reader = open_slide(small_slide)
    grid = build_grid(reader, segment_tissue(reader))
    store = EmbeddingStore(tmp_path)
    embed_patches(reader, grid, [toys.ToyEncoder("a")], store)
    array = store.view("a", grid.cells).array()
    assert array.shape == (len(grid), 8)
    patch = read_patch(reader, grid.lattice, grid.cells[9])
    expected = toys.ToyEncoder("a").encode(patch[None])[0]
    assert array[9] == pytest.approx(expected, rel=1e-3)


def test_a_slide_embedding_survives_the_disk(tmp_path: Path) -> None:
    vector = np.linspace(-1, 1, 5, dtype=np.float32)
    meta = {"encoder": {"name": "mean-a", "mean": [0.5, 0.5]}, "grid_id": "g"}
    save_slide_embedding(tmp_path, vector, meta)
    back, described = load_slide_embedding(tmp_path)
    assert (back == vector).all()
    assert described == meta
    with pytest.raises(ValueError, match="finite"):
        save_slide_embedding(tmp_path, np.array([np.nan], np.float32), meta)


@pytest.mark.parametrize("damage", ["gone", "wrong", "nan"])
def test_a_damaged_slide_embedding_is_refused(tmp_path: Path, damage: str) -> None:
    save_slide_embedding(tmp_path, np.zeros(4, np.float32), {})
    path = tmp_path / "embedding.npy"
    if damage == "gone":
        path.unlink()
    elif damage == "wrong":
        np.save(path, np.zeros((2, 2), np.float32))
    else:
        np.save(path, np.full(4, np.nan, np.float32))
    with pytest.raises(ProjectError):
        load_slide_embedding(tmp_path)


def test_a_kill_never_leaves_new_numbers_under_an_old_description(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from src_core.embeddings import extract

    save_slide_embedding(tmp_path, np.zeros(4, np.float32), {"made": "before"})

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(extract, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        save_slide_embedding(tmp_path, np.ones(4, np.float32), {"made": "after"})
    with pytest.raises(ProjectError):
        load_slide_embedding(tmp_path)


def test_readers_of_artifacts_load_no_torch(project_root: Path) -> None:
    code = (
        "import sys, src_core.tissue, src_core.patches, src_core.embeddings;"
        "heavy = {'torch', 'timm', 'sklearn', 'skimage', 'scipy', 'openslide'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=project_root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_resumed_run_computes_as_many_at_once_as_the_one_before(
    toys: Any, tmp_path: Path
) -> None:
    class Tuned(toys.ToyEncoder):  # type: ignore[name-defined,misc]
        """Finds another size in each process, as a GPU may."""

        computed = "float16 on cuda"
        found = 4
        tuned_size: int | None = None

        def go_on_with(self, batch_size: int) -> None:
            self.tuned_size = self.batch_size = batch_size

        def encode(self, patches: Any) -> Any:
            if self.tuned_size is None:
                self.go_on_with(self.found)
            return super().encode(patches)

    slide, grid, store = toys.NumberedSlide(), toys.numbered_grid(), EmbeddingStore(tmp_path)
    first = Tuned("a")
    with pytest.raises(JobCancelled):
        embed_patches(slide, grid, [first], store, stop=lambda: first.calls == 2)
    assert store.computed("a") == {"float16 on cuda": 4}
    second = Tuned("a")
    second.found = 8
    with pytest.raises(JobCancelled):
        embed_patches(slide, grid, [second], store, stop=lambda: second.calls == 2)
    assert second.tuned_size == 4
    laptop = Tuned("a")
    laptop.computed, laptop.found = "float32 on cpu", 16
    (note,) = embed_patches(slide, grid, [laptop], store).notes
    assert "by a in float16 on cuda, others in float32 on cpu: they are used together" in note
    assert store.computed("a") == {"float16 on cuda": 4, "float32 on cpu": 16}
    assert not store.missing("a", grid.cells).any(), "the same recipe: nothing is made again"
    (tmp_path / "a" / "computed.json").write_text('{"float16 on cuda": -3, "x": "y"}')
    assert store.computed("a") == {}
