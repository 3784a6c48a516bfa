"""All overlays fainter by one share of their own opacities."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_fusecpath.layers.find import METADATA_KEY, find_layer
from napari_fusecpath.layers.overlay_look import OverlayFader

OPACITIES = {"tissue": 0.35, "clusters": 0.6, "prediction": 0.6, "marks": 0.7}


def add(viewer: ViewerModel, role: str) -> None:
    notes = {METADATA_KEY: {"role": role}}
    viewer.add_labels(np.ones((4, 4), np.uint8), opacity=OPACITIES[role], metadata=notes)


@pytest.fixture
def viewer() -> ViewerModel:
    """A slide, a layer of the user's, and four overlays."""
    viewer = ViewerModel()
    slide = Image(np.zeros((4, 4, 3), np.uint8), metadata={METADATA_KEY: {"role": "slide"}})
    viewer.layers.append(slide)
    viewer.add_points([[1, 1]], name="mine")
    for role in OPACITIES:
        add(viewer, role)
    return viewer


def opacities(viewer: ViewerModel) -> dict[str, float]:
    return {
        layer.metadata[METADATA_KEY]["role"]: layer.opacity
        for layer in viewer.layers
        if METADATA_KEY in layer.metadata
    }


def test_overlays_keep_their_proportions(viewer: ViewerModel) -> None:
    fader = OverlayFader(viewer)
    for share in (0.05, 0.5):
        fader.fade(share)
    assert opacities(viewer) == pytest.approx(
        {"slide": 1.0, **{role: opacity / 2 for role, opacity in OPACITIES.items()}}
    )
    assert viewer.layers["mine"].opacity == 1
    fader.fade(1.0)
    assert opacities(viewer) == {"slide": 1.0, **OPACITIES}


def test_new_overlays_and_napari_s_own_slider_are_followed(viewer: ViewerModel) -> None:
    fader, clusters = OverlayFader(viewer), find_layer(viewer, "clusters")
    assert clusters is not None
    fader.fade(0.5)
    clusters.opacity = 0.4  # where all stand at a half
    add(viewer, "prediction")
    assert viewer.layers[-1].opacity == pytest.approx(0.3)
    fader.fade(1.0)
    assert clusters.opacity == pytest.approx(0.8)
    assert viewer.layers[-1].opacity == pytest.approx(0.6)


def test_a_closed_fader_leaves_overlays_as_they_were(viewer: ViewerModel) -> None:
    fader = OverlayFader(viewer)
    fader.fade(0.5)
    fader.close()
    assert opacities(viewer) == {"slide": 1.0, **OPACITIES}
    later = OverlayFader(viewer)
    later.fade(0.5)
    assert opacities(viewer)["marks"] == pytest.approx(0.35)
