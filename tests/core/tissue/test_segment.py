from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.errors import JobCancelled, SlideReadError, SlideScaleError
from src_core.progress import Progress
from src_core.slides import open_slide
from src_core.tissue import TissueConfig, blank_mask, segment_tissue
from src_core.types import Rgb


def at(mask: Any, x: float, y: float) -> bool:
    column = int((x - mask.origin_xy[0]) // mask.pixel_xy[0])
    return bool(mask.mask[int((y - mask.origin_xy[1]) // mask.pixel_xy[1]), column])


def test_real_tissue_is_found_and_glass_is_not(small_slide: Path) -> None:
    mask = segment_tissue(open_slide(small_slide))
    height, width = mask.mask.shape
    assert max(height, width) >= 256
    assert 0.25 < mask.mask.mean() < 0.4
    assert at(mask, 1150, 1500)  # epidermis
    assert at(mask, 960, 2100)  # dermis
    assert not at(mask, 300, 2000)
    assert not at(mask, 1950, 300)


def test_pieces_are_kept_specks_and_holes_are_not(memory_slide: Any, stained: Rgb) -> None:
    mask = segment_tissue(memory_slide(stained))
    assert at(mask, 800, 1200)
    assert at(mask, 2300, 1100)
    assert at(mask, 730, 930), "a hole of 30 um is filled"
    assert not at(mask, 2020, 620), "a speck of 20 um is dropped"
    tissue = 1000 * 1000 + 800 * 700
    assert mask.mask.sum() * mask.pixel_xy[0] ** 2 == pytest.approx(tissue, rel=0.03)
    keeps = TissueConfig(min_area_um2=0.0, min_hole_um2=0.0, blur_um=0.0, closing_um=0.0)
    mask = segment_tissue(memory_slide(stained), keeps)
    assert at(mask, 2020, 620)
    assert not at(mask, 730, 930)


def test_tissue_is_not_drawn_out_to_the_edge_of_the_slide(memory_slide: Any) -> None:
    pixels = np.full((2000, 2000, 3), (243, 242, 244), np.uint8)
    pixels[400:1600, 60:1940] = (190, 120, 170)  # 30 um of glass on both sides
    mask = segment_tissue(memory_slide(pixels), TissueConfig(closing_um=60.0))
    columns = mask.mask.any(axis=0)
    left, right = np.flatnonzero(columns)[[0, -1]] * mask.pixel_xy[0]
    assert left == pytest.approx(60, abs=24)
    assert right == pytest.approx(1940, abs=24)


def test_a_bay_at_the_edge_of_the_slide_is_no_hole(memory_slide: Any) -> None:
    pixels = np.full((2000, 2000, 3), (190, 120, 170), np.uint8)
    pixels[800:1100, :200] = (243, 242, 244)  # 150 x 100 um, less than a hole that is kept
    pixels[:, 1500:] = (243, 242, 244)
    mask = segment_tissue(memory_slide(pixels))
    assert not at(mask, 60, 950)
    assert at(mask, 60, 400)


def test_the_mask_lies_on_what_was_scanned(memory_slide: Any, stained: Rgb) -> None:
    plain = segment_tissue(memory_slide(stained))
    moved = segment_tissue(memory_slide(stained, offset_xy=(5000, 7000)))
    assert moved.origin_xy == (5000.0, 7000.0)
    assert (moved.mask == plain.mask).all()
    assert moved.tissue_id != plain.tissue_id


def test_levels_change_little_and_are_used(memory_slide: Any, stained: Rgb) -> None:
    plain = segment_tissue(memory_slide(stained))
    slide = memory_slide(stained, factors=(1, 4))
    coarse = segment_tissue(slide)
    assert {level for _, level, _ in slide.reads} == {1}
    assert coarse.mask.mean() == pytest.approx(plain.mask.mean(), rel=0.03)


def test_a_large_slide_of_one_level_is_read_by_pieces(memory_slide: Any) -> None:
    slide = memory_slide(np.full((5000, 5000, 3), 240, np.uint8))
    reports: list[Progress] = []
    segment_tissue(slide, report=reports.append)
    assert max(max(size) for _, _, size in slide.reads) <= 2048
    assert [report.done for report in reports] == list(range(len(reports)))
    assert reports[-1].done == reports[-1].total == 9


@pytest.mark.parametrize("colour", [(244, 243, 245), (250, 245, 220), (255, 255, 255), (3, 0, 9)])
def test_a_blank_slide_is_empty_although_otsu_would_split_it(
    memory_slide: Any, colour: Any
) -> None:
    rng = np.random.default_rng(0)
    shape = (1000, 1000, 3)
    pixels = np.clip(np.array(colour) + rng.integers(-3, 4, shape), 0, 255).astype(np.uint8)
    assert not segment_tissue(memory_slide(pixels)).mask.any()


def test_what_was_not_scanned_does_not_make_tinted_glass_tissue(memory_slide: Any) -> None:
    rng = np.random.default_rng(0)
    pixels = np.full((1500, 1500, 3), 255, np.uint8)  # as OpenSlide fills what has no pixels
    pixels[200:1000, 200:1300] = np.array((250, 245, 220)) + rng.integers(-3, 4, (800, 1100, 3))
    assert not segment_tissue(memory_slide(pixels)).mask.any()
    pixels[500:800, 500:800] = (190, 110, 170)
    mask = segment_tissue(memory_slide(pixels))
    assert mask.mask.mean() == pytest.approx(0.04, rel=0.1)


def test_a_field_of_nothing_but_tissue_is_full(memory_slide: Any) -> None:
    rng = np.random.default_rng(0)
    pixels = (np.array((190, 110, 170)) + rng.integers(-6, 7, (1000, 1000, 3))).astype(np.uint8)
    assert segment_tissue(memory_slide(pixels)).mask.all()


def test_a_given_threshold_is_kept(memory_slide: Any, stained: Rgb) -> None:
    assert not segment_tissue(memory_slide(stained), TissueConfig(threshold=0.9)).mask.any()
    assert segment_tissue(memory_slide(stained), TissueConfig(threshold=0.0)).mask.mean() > 0.9


def test_fluorescence_is_refused_with_a_way_out(shared_data: Path) -> None:
    slide = open_slide(shared_data / "slides" / "test3-DAPI-2-387.ndpi")
    with pytest.raises(SlideReadError, match=r"fluorescence.*paint"):
        segment_tissue(slide)
    blank = blank_mask(slide)
    assert not blank.mask.any()
    assert blank.edited(np.ones(blank.mask.shape)).mask.all()


def test_without_a_scale_nothing_is_guessed(memory_slide: Any, stained: Rgb) -> None:
    with pytest.raises(SlideScaleError, match="slide_mpp"):
        segment_tissue(memory_slide(stained, mpp=None))


def test_it_stops_when_asked(memory_slide: Any) -> None:
    slide = memory_slide(np.zeros((4000, 4000, 3), np.uint8))
    with pytest.raises(JobCancelled):
        segment_tissue(slide, stop=lambda: len(slide.reads) >= 2)


def test_settings_and_slide_name_the_mask(memory_slide: Any, stained: Rgb) -> None:
    slide = memory_slide(stained)
    first = segment_tissue(slide)
    assert first.tissue_id == segment_tissue(slide).tissue_id
    assert first.tissue_id != segment_tissue(slide, TissueConfig(mpp=16.0)).tissue_id
    assert first.tissue_id != blank_mask(slide).tissue_id


def test_what_cannot_be_read_is_not_taken_for_glass(memory_slide: Any, stained: Rgb) -> None:
    slide, sound = memory_slide(stained), segment_tissue(memory_slide(stained))
    slide.fail_inside = (1600, 200)  # on glass, for all that anybody knows
    found = segment_tissue(slide, TissueConfig(min_area_um2=0))
    assert found.recipe["unreadable_px"] > 0
    assert found.tissue_id != sound.tissue_id
    (there,) = found.coverage([(1600, 200)], 1)
    assert there == 1
    other = found.mask != sound.mask
    assert 0 < other.mean() < 0.05, "only around the damage"


def test_an_unreadable_slide_is_an_error_not_glass(
    memory_slide: Any, stained: Rgb, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = memory_slide(stained)

    def refuses(*_: Any) -> Any:
        raise SlideReadError("memory.svs cannot be read at (0, 0)")

    monkeypatch.setattr(slide, "read_region", refuses)
    with pytest.raises(SlideReadError, match="cannot be read"):
        segment_tissue(slide)
