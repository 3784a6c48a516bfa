"""Patches counted before tissue is found come near to those that there are then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from src_core.errors import SlideScaleError
from src_core.patches import expected
from src_core.patches.expected import count_patches, glance_at, glanced_tissue
from src_core.patches.grid import GridConfig, build_grid
from src_core.slides import SlideReader, open_slide
from src_core.slides.synthetic import SyntheticSlide, write_sample_slide
from src_core.tissue.mask import TissueMask
from src_core.tissue.segment import TissueConfig, segment_tissue

SETTINGS = [
    GridConfig(),
    GridConfig(patch_px=128),
    GridConfig(patch_px=128, stride_px=64),
    GridConfig(patch_px=128, min_tissue=0.9),
    GridConfig(mpp=1.0, min_tissue=0.0),
]


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slide") / "a.tiff"
    write_sample_slide(path, SyntheticSlide(size_px=(2560, 2048), seed=3))
    return path


def counts(reader: SlideReader, mask: TissueMask, mpp: float) -> list[int]:
    properties = reader.properties
    return [count_patches(properties, mask, one, slide_mpp=mpp) for one in SETTINGS]


@pytest.mark.parametrize("slide", ["synthetic", "small_slide"])
def test_the_count_at_a_glance_is_near_and_on_the_mask_exact(
    slide: str, request: pytest.FixtureRequest
) -> None:
    reader = open_slide(request.getfixturevalue(slide))
    mpp = reader.properties.require_mpp()
    mask = segment_tissue(reader)
    true = [len(build_grid(reader, mask, one)) for one in SETTINGS]
    assert counts(reader, mask, mpp) == true
    glance = glance_at(reader)
    assert glance is not None
    assert max(glance.pixels.shape) <= 512
    tissue = glanced_tissue(glance, TissueConfig(), slide_mpp=mpp)
    assert tissue is not None
    for near, count in zip(counts(reader, tissue, mpp), true, strict=True):
        assert near == pytest.approx(count, rel=0.05, abs=1)
    everything = glanced_tissue(glance, TissueConfig(threshold=0.0), slide_mpp=mpp)
    assert everything is not None
    assert counts(reader, everything, mpp)[1] > true[1]
    reader.close()


def test_a_scale_that_is_typed_and_a_region_count(synthetic: Path) -> None:
    reader = open_slide(synthetic)
    mask, config = segment_tissue(reader), GridConfig(patch_px=128)
    mpp = reader.properties.require_mpp()
    finer = open_slide(synthetic, slide_mpp=1.0)
    wanted = len(build_grid(finer, mask, config))
    assert count_patches(reader.properties, mask, config, slide_mpp=1.0) == wanted
    left = np.zeros_like(mask.mask)
    left[:, : left.shape[1] // 2] = True
    area = TissueMask(left, mask.origin_xy, mask.pixel_xy, {})
    for one in (config, GridConfig(patch_px=128, min_tissue=0.0)):
        inside = build_grid(reader, mask.within(left), one, region=area)
        counted = count_patches(reader.properties, mask, one, slide_mpp=mpp, region=left)
        assert counted == len(inside)
    with pytest.raises(SlideScaleError, match="too coarse"):
        count_patches(reader.properties, mask, GridConfig(mpp=0.1), slide_mpp=0.5)
    too_large = GridConfig(mpp=9.0, patch_px=2048)
    assert count_patches(reader.properties, mask, too_large, slide_mpp=0.5) == 0


def test_of_very_many_cells_some_are_looked_at(
    synthetic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = open_slide(synthetic)
    mask, config = segment_tissue(reader), GridConfig(patch_px=128, stride_px=15)
    true = len(build_grid(reader, mask, config))
    monkeypatch.setattr(expected, "_MOST_CELLS", 2000)
    near = count_patches(reader.properties, mask, config, slide_mpp=0.5)
    assert near == pytest.approx(true, rel=0.02)
    assert near != true, "it was not counted"


def test_a_slide_without_colours_or_without_a_small_level_is_not_guessed_at(
    shared_data: Path, synthetic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    glance = glance_at(open_slide(shared_data / "slides" / "test3-DAPI-2-387.ndpi"))
    assert glance is not None
    assert glanced_tissue(glance, TissueConfig(), slide_mpp=0.5) is None
    monkeypatch.setattr(expected, "_MOST_PX", 10)
    assert glance_at(open_slide(synthetic)) is None
