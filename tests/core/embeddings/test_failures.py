"""What goes wrong while patches are embedded: it is told, and nothing else is lost."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core import provenance
from src_core.embeddings import EmbeddingStore, embed_patches, writer
from src_core.errors import (
    ConfigError,
    EncoderFailedError,
    JobCancelled,
    ProjectError,
    SlideLostError,
    SlideReadError,
    StorageFullError,
)
from src_core.patches import GridConfig, PatchGrid, build_lattice
from src_core.slides import open_slide


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore(tmp_path / "store")


@pytest.fixture
def broken(toys: Any) -> Any:
    """A slide that cannot be read around one pixel of level 0."""

    class Broken(toys.NumberedSlide):  # type: ignore[name-defined,misc]
        damaged = (1000, 500)

        def read_region(self, xy: Any, level: int, size: Any) -> Any:
            x, y = self.damaged
            if 0 <= x - xy[0] < size[0] and 0 <= y - xy[1] < size[1]:
                raise SlideReadError("numbered.svs cannot be read there")
            return super().read_region(xy, level, size)

    return Broken()


def test_one_bad_region_costs_its_own_patch_only(
    toys: Any, broken: Any, store: EmbeddingStore
) -> None:
    grid, encoders = toys.numbered_grid(), [toys.ToyEncoder("a"), toys.ToyEncoder("b")]
    reports: list[Any] = []
    shortfall = embed_patches(broken, grid, encoders, store, report=reports.append)
    assert shortfall.unreadable.tolist() == [[1000 // 16, 500 // 16]]
    assert "cannot be read there" in str(shortfall.reason)
    assert not shortfall.failed
    assert [encoder.embedded for encoder in encoders] == [len(grid) - 1] * 2
    assert reports[-1].done == len(grid), "an unreadable patch is dealt with too"
    rest = grid.without(shortfall.unreadable)
    assert len(rest) == len(grid) - 1
    assert len(store.view("b", rest.cells)) == len(rest)
    again = embed_patches(toys.NumberedSlide(), grid, encoders, store)
    assert len(again.unreadable) == 0
    assert encoders[0].embedded == len(grid), "a mended file needs one patch more"


def test_a_slide_of_which_nothing_can_be_read_says_so(toys: Any, store: EmbeddingStore) -> None:
    class Broken(toys.NumberedSlide):  # type: ignore[name-defined,misc]
        def read_region(self, xy: Any, level: int, size: Any) -> Any:
            raise SlideReadError("numbered.svs cannot be read")

    grid, encoder = toys.numbered_grid(skip=9000), toys.ToyEncoder("a")
    shortfall = embed_patches(Broken(), grid, [encoder], store)
    assert (shortfall.unreadable == grid.cells[np.lexsort(grid.cells.T)]).all()
    assert encoder.calls == 0


@pytest.mark.parametrize("kind", [RuntimeError, ConfigError])
def test_an_encoder_that_breaks_down_leaves_the_others_at_work(
    toys: Any, store: EmbeddingStore, kind: type[Exception]
) -> None:
    class Failing(toys.ToyEncoder):  # type: ignore[name-defined,misc]
        def encode(self, patches: Any) -> Any:
            if self.embedded > 4000:
                raise kind("CUDA out of memory.\nTried to allocate 20 MiB")
            return super().encode(patches)

    grid, failing, sound = toys.numbered_grid(), Failing("a"), toys.ToyEncoder("b")
    shortfall = embed_patches(toys.NumberedSlide(), grid, [failing, sound], store)
    assert list(shortfall.failed) == ["a"]
    assert "CUDA out of memory." in str(shortfall.failed["a"])
    if kind is not ConfigError:
        assert isinstance(shortfall.failed["a"], EncoderFailedError)
        assert "a broke down" in str(shortfall.failed["a"])
        assert "Tried to allocate" not in str(shortfall.failed["a"]), "one sentence"
    assert sound.embedded == len(grid)
    assert int(store.missing("a", grid.cells).sum()) == len(grid) - failing.embedded
    well = toys.ToyEncoder("a")
    assert not embed_patches(toys.NumberedSlide(), grid, [well], store).failed
    assert well.embedded == len(grid) - failing.embedded, "what it had done is kept"


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_machine_without_memory_ends_the_run_and_keeps_what_it_has(
    toys: Any, store: EmbeddingStore, error: Exception
) -> None:
    class Failing(toys.ToyEncoder):  # type: ignore[name-defined,misc]
        def encode(self, patches: Any) -> Any:
            if self.embedded > 4000:
                raise error
            return super().encode(patches)

    grid, failing = toys.numbered_grid(), Failing("a")
    with pytest.raises(type(error)):
        embed_patches(toys.NumberedSlide(), grid, [failing, toys.ToyEncoder("b")], store)
    well = toys.ToyEncoder("a")
    embed_patches(toys.NumberedSlide(), grid, [well], store)
    assert well.embedded == len(grid) - failing.embedded


def test_numbers_too_large_for_the_disk_are_that_encoders_failure(
    toys: Any, store: EmbeddingStore
) -> None:
    class Loud(toys.ToyEncoder):  # type: ignore[name-defined,misc]
        def encode(self, patches: Any) -> Any:
            return super().encode(patches) + 1e6

    grid, sound = toys.numbered_grid(skip=8000), toys.ToyEncoder("b")
    shortfall = embed_patches(toys.NumberedSlide(), grid, [Loud("a"), sound], store)
    assert "store its embeddings as float32" in str(shortfall.failed["a"])
    assert sound.embedded == len(grid)


@pytest.mark.parametrize("given", ["nan", "inf", "narrow"])
def test_an_encoder_that_gives_no_embeddings_leaves_the_others_at_work(
    toys: Any, store: EmbeddingStore, given: str
) -> None:
    class Wrong(toys.ToyEncoder):  # type: ignore[name-defined,misc]
        def encode(self, patches: Any) -> Any:
            before = self.embedded
            rows = super().encode(patches)
            if before <= 4000:
                return rows
            return rows[:, :3] if given == "narrow" else np.full_like(rows, float(given))

    grid, wrong, sound = toys.numbered_grid(), Wrong("a"), toys.ToyEncoder("b")
    shortfall = embed_patches(toys.NumberedSlide(), grid, [wrong, sound], store)
    assert isinstance(shortfall.failed["a"], EncoderFailedError)
    told = str(shortfall.failed["a"])
    assert ("its card says (" if given == "narrow" else "a gave NaN or infinity") in told
    place = re.match(r"numbered\.svs, (\d+ patches, the first|patch) at level-0 pixel \(", told)
    assert place, "the slide, and where"
    assert sound.embedded == len(grid)
    kept = len(grid) - int(store.missing("a", grid.cells).sum())
    assert 4000 < kept < len(grid)
    well = toys.ToyEncoder("a")
    assert not embed_patches(toys.NumberedSlide(), grid, [well], store).failed
    assert well.embedded == len(grid) - kept, "what was right is kept"


def test_no_patch_is_read_for_encoders_that_have_all_broken_down(
    toys: Any, store: EmbeddingStore
) -> None:
    class Failing(toys.ToyEncoder):  # type: ignore[name-defined,misc]
        def encode(self, patches: Any) -> Any:
            self.calls += 1
            raise RuntimeError("no")

    failing = Failing("a")
    embed_patches(toys.NumberedSlide(), toys.numbered_grid(), [failing], store)
    assert failing.calls == 1


def test_a_bug_of_an_encoder_is_no_failure_to_be_collected(
    toys: Any, store: EmbeddingStore
) -> None:
    class Buggy(toys.ToyEncoder):  # type: ignore[name-defined,misc]
        def encode(self, patches: Any) -> Any:
            raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        embed_patches(toys.NumberedSlide(), toys.numbered_grid(), [Buggy("a")], store)


def test_a_slide_that_vanishes_on_the_way_ends_the_pass_and_nothing_else(
    toys: Any, small_slide: Path, tmp_path: Path, store: EmbeddingStore
) -> None:
    path = tmp_path / "copy.svs"
    path.write_bytes(small_slide.read_bytes())
    reader = open_slide(path)
    lattice = build_lattice(reader.properties, GridConfig(patch_px=64))
    rows, columns = lattice.shape_hw
    cells = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    grid = PatchGrid(lattice, cells.astype(np.int32), "all")

    class Unplugs(toys.ToyEncoder):  # type: ignore[name-defined,misc]
        def encode(self, patches: Any) -> Any:
            # At once, for blocks are read ahead; as when the share is unmounted: the next read
            # opens it again.
            path.unlink(missing_ok=True)
            reader.close()
            return super().encode(patches)

    encoder = Unplugs("a")
    with pytest.raises(SlideLostError, match=r"copy\.svs"):
        embed_patches(reader, grid, [encoder], store)
    assert 0 < encoder.embedded < len(grid)
    path.write_bytes(small_slide.read_bytes())
    again = toys.ToyEncoder("a")
    embed_patches(open_slide(path), grid, [again], store)
    assert again.embedded == len(grid) - encoder.embedded


class _FullDisk:
    """Lets so many bytes through, then says what the system says when the disk is full."""

    def __init__(self, stream: Any, room: list[int]) -> None:
        self._stream, self._room = stream, room

    def write(self, content: Any) -> int:
        self._room[0] -= memoryview(content).nbytes
        if self._room[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(self._stream.write(content))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@pytest.mark.parametrize("room", [100, 60_000, 150_000, 230_000])
def test_a_full_disk_stops_with_a_sentence_and_a_rerun_goes_on(
    toys: Any, store: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """Whether it fills up in the first part, a later one or while parts are merged."""
    monkeypatch.setattr(writer, "_PART_ROWS", 1024)
    grid, slide = toys.numbered_grid(), toys.NumberedSlide()
    whole = EmbeddingStore(tmp_path / "whole")
    embed_patches(slide, grid, [toys.ToyEncoder("a"), toys.ToyEncoder("b")], whole)
    original, left = provenance.write_atomically, [room]

    def full(path: Path, write: Any) -> None:
        original(path, lambda stream: write(_FullDisk(stream, left)))

    encoders = [toys.ToyEncoder("a"), toys.ToyEncoder("b")]
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "write_atomically", full)
        patch.setattr(writer, "write_atomically", full)
        with pytest.raises(StorageFullError) as told:
            embed_patches(slide, grid, encoders, store)
    assert str(store.folder) in str(told.value)
    assert "make room" in str(told.value)
    assert "take up to 1 MB" in str(told.value)
    safe = sum(np.load(part).shape[0] for part in store.folder.glob("a/parts/*.cells.npy"))
    again = [toys.ToyEncoder("a"), toys.ToyEncoder("b")]
    embed_patches(slide, grid, again, store)
    assert again[0].embedded == len(grid) - safe
    for name in ("a/embeddings.npy", "a/cells.npy", "b/embeddings.npy", "b/cells.npy"):
        assert (store.folder / name).read_bytes() == (whole.folder / name).read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no such limit")
def test_a_file_that_may_not_grow_is_told_by_a_real_system(
    script: Path, tmp_path: Path, project_root: Path
) -> None:
    """The kernel itself refuses the write, as it does for a quota or a full disk."""
    code = (
        "import resource, runpy, sys;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (64_000, 64_000));"
        f"sys.argv = ['x', {str(tmp_path)!r}, 'fast']; sys.path.insert(0, {str(project_root)!r});"
        f"runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "StorageFullError: The disk that holds" in done.stderr
    assert "take up to 1 MB" in done.stderr


def test_two_runs_at_once_embed_each_patch_once(
    script: Path, tmp_path: Path, project_root: Path, toys: Any
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(project_root)}
    command = [sys.executable, str(script), str(tmp_path), "fast"]
    runs = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [run.wait(60) for run in runs] == [0, 0, 0]
    embedded = (tmp_path / "a.log").read_text().split()
    assert len(embedded) == len(set(embedded)) == len(toys.numbered_grid())
    cells = np.load(tmp_path / "store" / "a" / "cells.npy")
    assert len(np.unique(cells, axis=0)) == len(cells) == len(embedded)


def test_waiting_for_another_run_is_told_and_can_be_stopped(store: EmbeddingStore) -> None:
    reports: list[Any] = []
    began = time.monotonic()
    with store.locked():  # noqa: SIM117 - one inside the other is the point
        with (
            pytest.raises(JobCancelled),
            store.locked(report=reports.append, stop=lambda: time.monotonic() - began > 0.6),
        ):
            pytest.fail("two runs write at once")
    assert reports[0].stage == "Waiting for another run"
    with store.locked():
        pass


def test_a_folder_that_cannot_be_locked_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(ProjectError, match="cannot be locked"),
        EmbeddingStore(tmp_path / "file").locked(),
    ):
        pytest.fail("a file is no folder")
