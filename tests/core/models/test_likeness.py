"""Slides unlike the training slides: planted ones, and real ones of another tissue and stain."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.color import hsv2rgb, rgb2hsv

from src_core.bags.cohort import CohortSlide
from src_core.encoders import create_encoder
from src_core.models.likeness import FEWEST_PATIENTS, Likeness
from src_core.models.standardise import Standardiser
from src_core.slides import open_slide

ENCODERS = ("lite0", "texture")


def slide_of(view: Any, patient: str, views: list[NDArray[Any]]) -> CohortSlide:
    n_patches = len(views[0])
    return CohortSlide(
        slide_id=f"slide of {patient}",
        patient_id=patient,
        target=0,
        views=tuple(view(values, f"view{number}") for number, values in enumerate(views)),
        labels=np.zeros(n_patches, np.int32),
        cells=np.zeros((n_patches, 2), np.int32),
    )


def learned(slides: list[CohortSlide]) -> tuple[Likeness | None, Callable[[CohortSlide], float]]:
    """Return what training would keep of slides, and how unlike them another slide is."""
    scales = [
        Standardiser.fit(slide.views[number].rows(np.arange(len(slide.labels))) for slide in slides)
        for number in range(len(slides[0].views))
    ]
    found = Likeness.fit(slides, scales, seed=0)

    def unlike(slide: CohortSlide) -> float:
        assert found is not None
        rows = np.arange(len(slide.labels))
        parts = [s.apply(v.rows(rows)) for s, v in zip(scales, slide.views, strict=True)]
        return found.unlikeness(found.coordinates(np.concatenate(parts, axis=1)))

    return found, unlike


@pytest.fixture
def planted_slides(planted: Any) -> Callable[..., list[CohortSlide]]:
    """Slides in two views; each has a middle of its own, and may be moved as a stain would."""

    def make(count: int, *, seed: int, moved: float = 0.0, n_patches: int = 60) -> Any:
        rng = np.random.default_rng(seed)
        slides = []
        for number in range(count):
            views = [
                rng.normal(size=(n_patches, dim)) + 0.3 * rng.normal(size=dim) + moved
                for dim in (50, 12)
            ]
            slides.append(slide_of(planted.view, f"p{number}", views))
        return slides

    return make


def test_slides_of_the_same_kind_are_like_and_moved_ones_are_not(planted_slides: Any) -> None:
    _, unlike = learned(planted_slides(30, seed=0))
    same = [unlike(one) for one in planted_slides(40, seed=1)]
    assert np.mean(np.array(same) > 1) <= 0.05
    assert min(unlike(one) for one in planted_slides(10, seed=2, moved=1.5)) > 1


def test_one_odd_patch_does_not_make_a_slide_unlike(planted_slides: Any, planted: Any) -> None:
    _, unlike = learned(planted_slides(30, seed=0))
    (plain,) = planted_slides(1, seed=5)
    values = [view.values.copy() for view in plain.views]
    for one in values:
        one[0] += 1e4
    assert unlike(slide_of(planted.view, "q", values)) == pytest.approx(unlike(plain), rel=0.2)


def test_too_few_patients_or_no_variance_tell_nothing(planted_slides: Any, planted: Any) -> None:
    few = planted_slides(FEWEST_PATIENTS - 1, seed=0)
    assert learned(few)[0] is None
    assert learned(planted_slides(FEWEST_PATIENTS, seed=0))[0] is not None
    flat = [slide_of(planted.view, str(i), [np.ones((5, 3))]) for i in range(12)]
    assert learned(flat)[0] is None


def test_the_same_seed_measures_the_same(planted_slides: Any) -> None:
    slides = planted_slides(12, seed=0, n_patches=300)
    one, two = learned(slides)[0], learned(slides)[0]
    assert one is not None
    assert two is not None
    assert one.threshold == two.threshold
    np.testing.assert_array_equal(one.whitening, two.whitening)


def tiles(path: Path, side: int = 224) -> NDArray[np.uint8]:
    reader = open_slide(path)
    try:
        width, height = reader.properties.level_dimensions[0]
        squares = [
            reader.read_region((x, y), 0, (side, side))
            for y in range(0, height - side, side)
            for x in range(0, width - side, side)
        ]
    finally:
        reader.close()
    return np.stack(squares)


def turned(pixels: NDArray[np.uint8], by: float) -> NDArray[np.uint8]:
    """Turn the hue, as another stain would."""
    hsv = rgb2hsv(pixels)
    hsv[..., 0] = (hsv[..., 0] + by) % 1
    return np.rint(hsv2rgb(hsv) * 255).astype(np.uint8)


@pytest.mark.slow
def test_real_slides_of_another_tissue_and_stain_are_unlike(
    lung_patches: Path, shared_data: Path, planted: Any
) -> None:
    """Lung tissue of other patients is like; skin, fluorescence and turned colours are not."""
    groups: dict[str, list[Path]] = defaultdict(list)
    with (lung_patches / "labels.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            groups[row["group"]].append(lung_patches / row["file"])
    names = np.random.default_rng(0).permutation(sorted(groups))
    # Twelve origins of two patches are a patient: none of them is in two slides.
    patients = [
        [file for name in names[start : start + 12] for file in groups[name][:2]]
        for start in range(0, 36 * 12, 12)
    ]
    pixels = [
        np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
        for files in patients
    ]
    other = tiles(shared_data / "slides" / "CMU-1-Small-Region.svs")
    tissue = other[other.mean(axis=(1, 2, 3)) < 220]
    dark = tiles(shared_data / "slides" / "test3-DAPI-2-387.ndpi")
    glowing = dark[np.argsort(-dark.std(axis=(1, 2, 3)))[:24]]
    strange = {
        "another tissue and scanner": tissue[:24],
        "fluorescence": glowing,
        "hue turned by 0.15": turned(pixels[30], 0.15),
        "no colour": np.repeat(pixels[31].mean(axis=3, keepdims=True).astype(np.uint8), 3, axis=3),
    }
    encoders: list[Any] = [create_encoder(name, device="cpu") for name in ENCODERS]

    def slide(name: str, squares: NDArray[np.uint8]) -> CohortSlide:
        return slide_of(planted.view, name, [one.encode(squares) for one in encoders])

    slides = [slide(f"p{number}", squares) for number, squares in enumerate(pixels)]
    _, unlike = learned(slides[:24])
    held_out = [unlike(one) for one in slides[24:]]
    found = {name: unlike(slide(name, squares)) for name, squares in strange.items()}
    print(f"held-out lung {np.round(np.sort(held_out), 2)}, {found}")
    assert np.mean(np.array(held_out) > 1) <= 1 / 12
    assert min(found.values()) > 1.5
