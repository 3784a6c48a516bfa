from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from src_core.slides import open_slide
from src_core.slides.drawing import draw_tissue
from src_core.slides.synthetic import (
    SyntheticSlide,
    _patients,
    write_sample_cohort,
    write_sample_slide,
    write_square_slide,
)

_SMALL = SyntheticSlide(size_px=(1280, 1024), seed=3, nodule_fraction=0.25)


def test_a_sample_slide_opens_with_its_scale_and_levels(tmp_path: Path) -> None:
    write_sample_slide(tmp_path / "a.tiff", _SMALL)
    reader = open_slide(tmp_path / "a.tiff")
    found = reader.properties
    assert found.level_dimensions == ((1280, 1024), (320, 256), (80, 64))
    assert (found.mpp, found.vendor, reader.stain()) == (0.5, "generic-tiff", "brightfield")


def test_the_same_seed_gives_the_same_slide(tmp_path: Path) -> None:
    regions = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        slide = SyntheticSlide(size_px=(640, 512), seed=seed, nodule_fraction=0.25)
        write_sample_slide(tmp_path / f"{name}.tiff", slide, compression="deflate")
        regions.append(open_slide(tmp_path / f"{name}.tiff").read_region((0, 0), 0, (640, 512)))
    np.testing.assert_array_equal(regions[0], regions[1])
    assert (regions[0] != regions[2]).mean() > 0.1


def test_the_truth_is_where_the_picture_shows_it(tmp_path: Path) -> None:
    truth = write_sample_slide(tmp_path / "a.tiff", _SMALL)
    assert truth.mask_px == 8
    assert truth.tissue.shape == truth.nodule.shape == (128, 160)
    assert abs(truth.tissue.mean() - 0.6) < 0.02
    assert abs(truth.nodule.sum() / truth.tissue.sum() - 0.25) < 0.02
    assert not (truth.nodule & ~truth.tissue).any()
    pixels = open_slide(tmp_path / "a.tiff").read_region((0, 0), 0, (1280, 1024))
    red = pixels[..., 0].reshape(128, 8, 160, 8).mean(axis=(1, 3))  # haematoxylin takes the red
    assert red[truth.nodule].mean() < red[truth.tissue & ~truth.nodule].mean() - 25
    assert red[~truth.tissue].mean() > 225


def test_a_slide_without_nodule_has_none() -> None:
    _, truth = draw_tissue(
        (640, 640),
        mpp=0.5,
        nodule_fraction=0,
        n_pieces=2,
        tissue_fraction=0.5,
        rng=np.random.default_rng(0),
    )
    assert not truth.nodule.any()
    assert abs(truth.tissue.mean() - 0.5) < 0.02


@pytest.mark.parametrize("mpp", [0.25, 0.37, 1.0])
def test_things_have_one_size_in_micrometres(mpp: float) -> None:
    size = (round(500 / mpp), round(400 / mpp))
    pixels, truth = draw_tissue(
        size,
        mpp=mpp,
        nodule_fraction=0.3,
        n_pieces=1,
        tissue_fraction=0.6,
        rng=np.random.default_rng(0),
    )
    assert pixels.shape == (size[1], size[0], 3)
    assert truth.mask_px * mpp == pytest.approx(4.0, rel=0.1)
    assert truth.tissue.shape == (-(-size[1] // truth.mask_px), -(-size[0] // truth.mask_px))


def test_a_cohort_has_two_classes_and_patients_of_one_class(tmp_path: Path) -> None:
    table = write_sample_cohort(tmp_path / "sample", n_slides=3, seed=1)
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert list(rows[0]) == ["slide_id", "path", "patient_id", "label"]
    assert [row["label"] for row in rows] == ["normal", "nodule", "normal"]
    for row in rows:
        properties = open_slide(table.parent / row["path"]).properties
        truth = np.load(table.parent / "truth" / f"{row['slide_id']}.npy")
        assert properties.dimensions == (2560, 2560)
        assert truth.shape == (320, 320)
        assert truth.any() == (row["label"] == "nodule")
    assert [row["patient_id"] for row in rows] == ["patient-01", "patient-02", "patient-01"]


def test_patients_have_one_class_and_a_slide_or_two() -> None:
    patients = _patients(17)
    assert all(patient % 2 == index % 2 for index, patient in enumerate(patients))
    counts = np.bincount(patients)
    assert set(counts.tolist()) == {1, 2}


def test_a_square_lies_where_it_was_put(square_slide: Path) -> None:
    reader = open_slide(square_slide)
    pixels = reader.read_region((0, 0), 0, (1501, 1103))
    glass = (pixels == 243).all(axis=2)
    rows, columns = np.nonzero(~glass)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (300, 939, 200, 711)
    assert reader.properties.level_dimensions == ((1501, 1103), (375, 276), (94, 69))


def test_a_scanner_may_be_named_and_the_scale_left_out(tmp_path: Path) -> None:
    write_square_slide(tmp_path / "a.svs", aperio=True, mpp=0.25)
    found = open_slide(tmp_path / "a.svs").properties
    assert (found.vendor, found.mpp, found.objective_power) == ("aperio", 0.25, 40)
    for name, aperio in (("b.tiff", False), ("c.svs", True)):
        write_square_slide(tmp_path / name, aperio=aperio, mpp=None)
        assert open_slide(tmp_path / name).properties.mpp is None


def test_arguments_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nodule_fraction"):
        write_sample_slide(tmp_path / "a.tiff", SyntheticSlide(nodule_fraction=1.5))
    with pytest.raises(ValueError, match="n_slides"):
        write_sample_cohort(tmp_path, n_slides=1, seed=0)
    with pytest.raises(ValueError, match="mpp"):
        write_square_slide(tmp_path / "a.scn", bounds_xy=(8, 8), mpp=None)
    assert list(tmp_path.iterdir()) == []
