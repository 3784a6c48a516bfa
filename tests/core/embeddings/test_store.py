from __future__ import annotations

import importlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.embeddings import EmbeddingStore
from src_core.errors import ConfigError, GridMismatchError, ProjectError, StaleArtifactError
from src_core.types import Cells, Float32

writer_module: Any = importlib.import_module("src_core.embeddings.writer")

RECIPE = {"encoder": "toy", "mean": [0.5, 0.5]}


def cells_of(*numbers: int) -> Cells:
    return np.array([(number % 10, number // 10) for number in numbers], np.int32)


def rows_of(*numbers: int, dim: int = 3) -> Float32:
    return np.array([[number + 0.25 * d for d in range(dim)] for number in numbers], np.float32)


def filled(folder: Path, *numbers: int, **settings: Any) -> EmbeddingStore:
    store = EmbeddingStore(folder, **settings)
    writer = store.open_writer("toy", RECIPE, 3)
    writer.append(cells_of(*numbers), rows_of(*numbers))
    writer.commit()
    return store


def test_a_view_gives_rows_in_the_order_of_the_cells_asked_for(tmp_path: Path) -> None:
    store = filled(tmp_path, 7, 3, 12, 99, 0)
    view = store.view("toy", cells_of(0, 99, 7))
    assert (view.encoder, view.dim, view.recipe, len(view)) == ("toy", 3, RECIPE, 3)
    assert view.array().dtype == np.float32
    assert view.array().tolist() == rows_of(0, 99, 7).tolist()
    assert view.rows([2, 0, 2]).tolist() == rows_of(7, 0, 7).tolist()
    assert view.rows([]).shape == (0, 3)


def test_a_view_can_be_sliced_like_a_matrix_that_is_read_in_part(tmp_path: Path) -> None:
    view = filled(tmp_path, 7, 3, 12, 99, 0).view("toy", cells_of(0, 99, 7))
    assert (view.ndim, view.shape) == (2, (3, 3))
    for wanted in (slice(None), slice(1, 3), slice(2, 9), np.array([2, 0]), [1], -1, 1):
        np.testing.assert_array_equal(view[wanted], view.array()[wanted])
    assert view[:2].dtype == np.float32
    with pytest.raises(IndexError):
        view[3]


@pytest.mark.parametrize("wrong", [[-1], [0, 3]])
def test_rows_that_are_none_are_refused(tmp_path: Path, wrong: list[int]) -> None:
    view = filled(tmp_path, 1, 2, 3).view("toy", cells_of(1, 2, 3))
    with pytest.raises(IndexError):
        view.rows(wrong)


@pytest.mark.parametrize("stored_as", ["float16", "float32"])
def test_embeddings_come_as_they_are_stored(tmp_path: Path, stored_as: str) -> None:
    view = filled(tmp_path, 7, 3, 12, stored_as=stored_as).view("toy", cells_of(12, 7))
    stored = view.stored()
    assert stored.array.dtype == stored_as
    assert stored.rows(np.array([1, 0, 1])).tolist() == rows_of(7, 12, 7).tolist()
    for kind in ("float16", "float32"):
        out: Any = np.zeros((3, 3), kind)
        some = stored.some(np.array([1, 0, 1]))
        some.copy_to(out)
        assert out.tolist() == rows_of(7, 12, 7).tolist()
        assert some.as_stored(1, 3).tolist() == rows_of(12, 7).tolist()


def test_a_file_that_was_replaced_by_a_shorter_one_is_not_read(tmp_path: Path) -> None:
    view = filled(tmp_path / "a", 1, 2, 3).view("toy", cells_of(1, 3))
    filled(tmp_path / "b", 1)
    short = tmp_path / "b" / "toy" / "embeddings.npy"
    short.replace(view.path)
    with pytest.raises(GridMismatchError, match="by toy were made again meanwhile"):
        view.stored()


def test_missing_cells_are_counted_and_embed_is_named(tmp_path: Path) -> None:
    store = filled(tmp_path, 1, 2)
    assert store.missing("toy", cells_of(2, 3, 1, 4)).tolist() == [False, True, False, True]
    assert store.missing("other", cells_of(2)).tolist() == [True]
    with pytest.raises(GridMismatchError, match=r"2 of 4 patches .* by toy; run Embed"):
        store.view("toy", cells_of(2, 3, 1, 4))
    with pytest.raises(GridMismatchError, match="run Embed"):
        store.view("other", cells_of(2))


def test_it_only_adds(tmp_path: Path) -> None:
    store = filled(tmp_path, 5, 1)
    old = store.view("toy", cells_of(1, 5))
    filled(tmp_path, 3, 0)
    assert np.load(tmp_path / "toy" / "cells.npy").tolist() == cells_of(5, 1, 3, 0).tolist()
    assert old.array().tolist() == rows_of(1, 5).tolist(), "an older view still holds"
    assert store.view("toy", cells_of(0, 1, 3, 5)).array().tolist() == rows_of(0, 1, 3, 5).tolist()


def test_what_is_not_committed_is_not_seen(tmp_path: Path) -> None:
    store = filled(tmp_path, 1)
    writer = store.open_writer("toy", RECIPE, 3)
    writer.append(cells_of(2), rows_of(2))
    writer.flush()
    assert store.missing("toy", cells_of(1, 2)).tolist() == [False, True]
    writer.commit()
    assert not store.missing("toy", cells_of(1, 2)).any()
    assert not (tmp_path / "toy" / "parts").exists()


class Killed(BaseException):
    """Stands for a kill at one moment."""


@pytest.mark.parametrize("moment", range(6))
def test_a_run_may_die_at_any_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Whichever of the writes of a run is the last, the next run ends in the same bytes."""
    store = filled(tmp_path, 1, 2)
    writes = 0

    def dies(original: Any) -> Any:
        def write(*args: Any) -> None:
            nonlocal writes
            if writes == moment:
                raise Killed
            writes += 1
            original(*args)

        return write

    def run() -> None:
        writer = store.open_writer("toy", RECIPE, 3)
        for number in (3, 4):
            if store.missing("toy", cells_of(number))[0]:
                writer.append(cells_of(number), rows_of(number))
                writer.flush()
        writer.commit()

    with monkeypatch.context() as patch:
        patch.setattr(writer_module, "write_array", dies(writer_module.write_array))
        patch.setattr(writer_module, "write_atomically", dies(writer_module.write_atomically))
        with pytest.raises(Killed):
            run()
    assert store.view("toy", cells_of(1, 2)).array().tolist() == rows_of(1, 2).tolist()
    run()
    assert np.load(tmp_path / "toy" / "cells.npy").tolist() == cells_of(1, 2, 3, 4).tolist()
    assert np.load(tmp_path / "toy" / "embeddings.npy").shape == (4, 3)
    expected = rows_of(1, 2, 3, 4).tolist()
    assert store.view("toy", cells_of(1, 2, 3, 4)).array().tolist() == expected


def test_a_kill_before_the_parts_are_removed_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(tmp_path, 1)
    writer = store.open_writer("toy", RECIPE, 3)
    writer.append(cells_of(2), rows_of(2))

    def killed(folder: Path) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(writer_module.shutil, "rmtree", killed)
        with pytest.raises(Killed):
            writer.commit()
    writer = store.open_writer("toy", RECIPE, 3)
    writer.append(cells_of(3), rows_of(3))
    writer.commit()
    assert np.load(tmp_path / "toy" / "cells.npy").tolist() == cells_of(1, 2, 3).tolist()
    assert store.view("toy", cells_of(3, 2)).array().tolist() == rows_of(3, 2).tolist()


def test_another_recipe_is_refused_and_named(tmp_path: Path) -> None:
    store = filled(tmp_path, 1)
    with pytest.raises(StaleArtifactError, match=r"by toy were made with mean = \[0.5, 0.5\]"):
        store.open_writer("toy", {**RECIPE, "mean": [0.4, 0.5]}, 3)
    with pytest.raises(StaleArtifactError, match="dim = 3, not 4"):
        store.open_writer("toy", RECIPE, 4)
    assert store.recipe("toy") == RECIPE


def test_names_with_any_letters_are_folders_inside_the_store(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path / "store")
    assert store.encoders() == ()
    names = ("timm:vit/b@16", "../escape", "lite0", "mean-lité", "a%2Fb")
    for name in names:
        writer = store.open_writer(name, RECIPE, 3)
        writer.append(cells_of(1), rows_of(1))
        writer.commit()
    assert store.encoders() == tuple(sorted(names))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]
    for name in ("", ".", ".."):
        with pytest.raises(ValueError, match="cannot be the name"):
            store.open_writer(name, RECIPE, 3)


def test_float16_by_default_float32_if_wanted(tmp_path: Path) -> None:
    half = filled(tmp_path / "half", 1000)
    assert np.load(tmp_path / "half" / "toy" / "embeddings.npy").dtype == np.float16
    assert half.view("toy", cells_of(1000)).array()[0, 1] == 1000.0  # 1000.25 in half precision
    full = filled(tmp_path / "full", 1000, stored_as="float32")
    assert full.view("toy", cells_of(1000)).array()[0, 1] == 1000.25
    # What is there decides: one artifact has one type.
    filled(tmp_path / "full", 1001)
    assert np.load(tmp_path / "full" / "toy" / "embeddings.npy").dtype == np.float32


def test_numbers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    writer = EmbeddingStore(tmp_path).open_writer("toy", RECIPE, 1)
    one = cells_of(1)
    with pytest.raises(ConfigError, match=r"up to 70000.*store its embeddings as float32"):
        writer.append(one, np.array([[70000.0]], np.float32))
    for number in (np.nan, np.inf):
        with pytest.raises(ValueError, match="no finite numbers"):
            writer.append(one, np.array([[number]], np.float32))
    with pytest.raises(ValueError, match=r"toy gave \(1, 2\)"):
        writer.append(one, np.zeros((1, 2), np.float32))


def test_a_view_goes_to_another_process(tmp_path: Path) -> None:
    view = filled(tmp_path, 1, 2).view("toy", cells_of(2))
    again = pickle.loads(pickle.dumps(view))
    assert again.array().tolist() == rows_of(2).tolist()


def test_damaged_stores_are_refused_with_a_sentence(tmp_path: Path) -> None:
    store = filled(tmp_path, 1, 2)
    folder = tmp_path / "toy"
    wanted = cells_of(1, 2)
    good = np.load(folder / "embeddings.npy")
    for bad in (good[:1], good[:, :2], good.astype(np.float64)):
        np.save(folder / "embeddings.npy", bad)
        with pytest.raises(ProjectError):
            store.view("toy", wanted)
    (folder / "embeddings.npy").write_bytes(b"no array")
    with pytest.raises(ProjectError):
        store.view("toy", wanted)
    np.save(folder / "embeddings.npy", good)
    np.save(folder / "cells.npy", cells_of(1, 1))
    with pytest.raises(ProjectError, match="twice"):
        store.view("toy", wanted[:1])
    np.save(folder / "cells.npy", wanted)
    for meta in ({}, {"recipe": RECIPE, "dim": "3", "stored_as": "float16"}):
        (folder / "meta.json").write_text(json.dumps(meta))
        with pytest.raises(ProjectError, match="run Embed"):
            store.view("toy", wanted)


def test_more_cells_than_any_slide_has_are_not_read(tmp_path: Path, sparse_array: Any) -> None:
    store = filled(tmp_path, 1, 2)
    sparse_array(tmp_path / "toy" / "cells.npy", np.int32, (10**9, 2))
    with pytest.raises(ProjectError, match="more cells than any slide"):
        store.view("toy", cells_of(1))


def test_a_torn_temporary_file_is_swept_up(tmp_path: Path) -> None:
    store = filled(tmp_path, 1)
    torn = tmp_path / "toy" / ".embeddings.npy.0000.tmp"
    torn.write_bytes(b"half")
    store.open_writer("toy", RECIPE, 3)
    assert not torn.exists()
