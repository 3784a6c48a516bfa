"""The statistics mean what their names say."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from PIL import Image
from skimage import color, draw
from skimage.feature import local_binary_pattern
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from src_core.encoders import PatchEncoder, create_encoder
from src_core.encoders.texture import _binary_patterns, _describe, _separate, feature_names
from src_core.types import Rgb

HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
EOSIN = np.array([0.07, 0.99, 0.11])


def stained(amount: np.ndarray, stain: np.ndarray = HAEMATOXYLIN) -> Rgb:
    """Pixels with `amount` (optical density) of one stain."""
    unit = stain / np.linalg.norm(stain)
    return np.rint(256 * 10 ** (-amount[..., None] * unit) - 1).clip(0, 255).astype(np.uint8)


def texture() -> PatchEncoder:
    return cast(PatchEncoder, create_encoder("texture"))


def measure(patch: Rgb) -> dict[str, float]:
    return dict(zip(feature_names(), _describe(patch), strict=True))


def test_every_dimension_has_one_name() -> None:
    assert len(set(feature_names())) == len(feature_names()) == 91


@pytest.mark.parametrize(("stain", "name"), [(HAEMATOXYLIN, "h"), (EOSIN, "e")])
def test_an_even_stain_is_found_in_its_own_channel(stain: np.ndarray, name: str) -> None:
    found = measure(stained(np.full((256, 256), 0.5), stain))
    for channel in "her":
        assert found[f"{channel}_mean"] == pytest.approx(0.5 if channel == name else 0, abs=0.01)
        assert found[f"{channel}_sd"] == pytest.approx(0, abs=1e-6)
    assert found["tissue"] == 1


def test_deconvolution_agrees_with_scikit_image(tissue: Rgb) -> None:
    patch = tissue[0]
    density = -np.log10((patch + np.float32(1)) / 256)
    ours = _separate(density)[0]
    theirs = color.rgb2hed(patch)[..., 0]
    shown = theirs > 0  # theirs is cut off below 0
    assert np.corrcoef(ours[shown], theirs[shown])[0, 1] > 0.999


@pytest.mark.parametrize(("neighbours", "radius"), [(8, 1), (16, 3), (8, 2)])
def test_binary_patterns_agree_with_scikit_image(neighbours: int, radius: int, tissue: Rgb) -> None:
    grey = tissue[0, :128, :128, 1]
    codes = local_binary_pattern(grey, neighbours, radius, "uniform")
    inner = codes[radius:-radius, radius:-radius].astype(int)
    theirs = np.bincount(inner.ravel(), minlength=neighbours + 2) / inner.size
    ours = _binary_patterns(grey.astype(np.float32), neighbours, radius)
    # They differ where the interpolated neighbour equals the pixel but for rounding.
    np.testing.assert_allclose(ours, theirs, atol=0.01)
    assert sum(ours) == pytest.approx(1)


def test_nuclei_are_counted_and_measured() -> None:
    amount = np.full((256, 256), 0.05)
    for x in (40, 104, 168, 232):  # circles of radius 10 px = 5 working px, 32 working px apart
        amount[draw.disk((128, x), 10)] = 0.7
    found = measure(stained(amount))
    assert found["nuclei_number"] == pytest.approx(4 / 128**2 * 1e4)
    assert found["nuclei_area_mean"] == pytest.approx(np.pi * 25, rel=0.15)
    assert found["nuclei_area_sd"] == pytest.approx(0, abs=2)
    assert found["nuclei_spacing_mean"] == pytest.approx(32, abs=0.2)
    assert found["nuclei_elongation_mean"] < 0.05
    assert found["nuclei_contrast"] > 0.4
    long = amount.copy()
    long[120:136, :] = 0.7
    assert measure(stained(long))["nuclei_elongation_mean"] > 0.9


def test_energy_sits_at_the_scale_of_the_pattern() -> None:
    y, x = np.mgrid[:256, :256]
    for k in range(1, 5):  # a chequerboard of squares of side 2^k working px
        board = ((y // 2 // 2**k + x // 2 // 2**k) % 2) * 0.5
        found = measure(stained(board))
        energies = [found[f"h_energy_{i}"] for i in range(5)]
        assert int(np.argmax(energies)) == k


def test_coherence_tells_stripes_from_a_board() -> None:
    y, x = np.mgrid[:256, :256]
    stripes = measure(stained(0.3 + 0.2 * np.sin(x / 4)))
    board = measure(stained(0.3 + 0.1 * np.sin(x / 4) + 0.1 * np.sin(y / 4)))
    assert stripes["edge_coherence"] > 0.95
    assert board["edge_coherence"] < 0.1


def test_turning_and_mirroring_a_patch_changes_nothing(tissue: Rgb) -> None:
    encoder = texture()
    plain = encoder.encode(tissue)
    for turned in (np.rot90(tissue, axes=(1, 2)), tissue[:, :, ::-1], tissue.swapaxes(1, 2)):
        np.testing.assert_allclose(encoder.encode(turned), plain, rtol=1e-4, atol=1e-4)


def test_values_stay_those_of_version_1(tissue: Rgb) -> None:
    # If these change, raise the version in the card: stored embeddings are then others.
    assert create_encoder("texture").card.weights == "code:texture/1"
    found = measure(tissue[0])
    for name, value in GOLDEN.items():
        assert found[name] == pytest.approx(value, rel=1e-3), name


GOLDEN = {
    "h_mean": 0.157864,
    "h_q95": 0.304918,
    "e_sd": 0.0283964,
    "r_q50": 0.546614,
    "corr_he": -0.286887,
    "tissue": 0.970947,
    "h_lbp1_8": 0.0929705,
    "h_lbp3_16": 0.0643644,
    "e_lbp2_3": 0.0489724,
    "h_energy_2": -2.80361,
    "edge_mean": 0.0618111,
    "edge_local_coherence": 0.484086,
    "nuclei_number": 15.2588,
    "nuclei_area_mean": 194.08,
    "nuclei_contrast": 0.141202,
    "nuclei_spacing_mean": 18.8686,
}


def test_statistics_tell_lung_tissues_apart(lung_patches: Path) -> None:
    with (lung_patches / "labels.csv").open() as stream:
        rows = list(csv.DictReader(stream))[::9]
    pictures = [Image.open(lung_patches / row["file"]) for row in rows]
    embeddings = texture().encode(np.stack([np.asarray(p) for p in pictures]))
    labels = np.array([row["label"] for row in rows])
    # Copies of one original share a group and must not be on both sides.
    held_out = np.array([int(row["group"].encode().hex(), 16) % 3 == 0 for row in rows])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    model.fit(embeddings[~held_out], labels[~held_out])
    accuracy = model.score(embeddings[held_out], labels[held_out])
    print(f"accuracy over {held_out.sum()} held-out patches: {accuracy:.3f}")
    assert accuracy > 0.8
