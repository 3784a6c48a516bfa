"""All overlays hidden and shown again, and fainter by one share."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_fusecpath.layers.find import METADATA_KEY, find_layer
from napari_fusecpath.layers.overlay_look import OverlayFader, OverlayHider

OPACITIES = {"tissue": 0.35, "clusters": 0.6, "prediction": 0.6, "marks": 0.7}


def add(viewer: ViewerModel, role: str, **options: object) -> None:
    layer = Labels(
        np.ones((4, 4), np.uint8),
        opacity=OPACITIES[role],
        metadata={METADATA_KEY: {"role": role}},
        **options,
    )
    viewer.layers.append(layer)


@pytest.fixture
def viewer() -> ViewerModel:
    """A slide, a layer of the user's, and four overlays, of which two are in view."""
    viewer = ViewerModel()
    slide = Image(np.zeros((4, 4, 3), np.uint8), metadata={METADATA_KEY: {"role": "slide"}})
    viewer.layers.append(slide)
    viewer.add_points([[1, 1]], name="mine")
    for role in OPACITIES:
        add(viewer, role, visible=role in ("prediction", "marks"))
    return viewer


def seen(viewer: ViewerModel) -> list[str]:
    return [
        layer.metadata.get(METADATA_KEY, {}).get("role", layer.name)
        for layer in viewer.layers
        if layer.visible
    ]


def test_what_was_in_view_comes_back_and_nothing_else(viewer: ViewerModel) -> None:
    hider, before = OverlayHider(viewer), seen(viewer)
    assert before == ["slide", "mine", "prediction", "marks"]
    for _ in range(2):
        hider.hide()
        hider.hide()
        assert seen(viewer) == ["slide", "mine"]
        hider.show()
        hider.show()
        assert seen(viewer) == before


def test_a_brush_is_in_the_hand_again(viewer: ViewerModel) -> None:
    hider, marks = OverlayHider(viewer), find_layer(viewer, "marks")
    assert isinstance(marks, Labels)
    marks.mode = "paint"
    hider.hide()
    hider.show()
    assert marks.mode == "paint"


def test_what_others_show_or_hide_meanwhile_stays_so(viewer: ViewerModel) -> None:
    hider = OverlayHider(viewer)
    hider.hide()
    for role, visible in (("prediction", False), ("clusters", True)):
        layer = find_layer(viewer, role)  # type: ignore[arg-type]
        assert layer is not None
        layer.visible = visible
    hider.show()
    assert seen(viewer) == ["slide", "mine", "clusters", "marks"]


def test_a_layer_that_is_drawn_anew_meanwhile_comes_back(viewer: ViewerModel) -> None:
    hider = OverlayHider(viewer)
    hider.hide()
    for role in ("marks", "clusters"):
        layer = find_layer(viewer, role)  # type: ignore[arg-type]
        assert layer is not None
        viewer.layers.remove(layer)
        add(viewer, role, visible=layer.visible)
    hider.show()
    assert seen(viewer) == ["slide", "mine", "prediction", "marks"]


def test_another_slide_ends_the_hiding(viewer: ViewerModel) -> None:
    hider = OverlayHider(viewer)
    hider.hide()
    viewer.layers.pop(0)
    assert not hider.is_hiding
    assert seen(viewer) == ["mine", "prediction", "marks"]


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
