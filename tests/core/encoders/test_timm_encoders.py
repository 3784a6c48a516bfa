"""Networks through timm: the right weights in the right architecture."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from skimage import data

from src_core.encoders import create_encoder, encoder_card, encoder_problem
from src_core.encoders.timm_encoders import _timm_names, build_lite
from src_core.encoders.torch_encoder import TorchPatchEncoder
from src_core.encoders.weights import package_file, read_state_dict
from src_core.errors import WeightsUnavailableError
from src_core.types import Rgb

CPU = torch.device("cpu")
CATS = {281, 282, 285}  # tabby, tiger cat, Egyptian cat
ESPRESSO = 967


def skip_without(name: str) -> None:
    problem = encoder_problem(name)
    if problem is not None:
        pytest.skip(problem)


def centre(picture: Rgb) -> Rgb:
    """ImageNet's evaluation view: short side 256, centre crop of 224, bicubic."""
    height, width = picture.shape[:2]
    scale = 256 / min(height, width)
    size = (round(width * scale), round(height * scale))
    image = Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)
    x, y = (image.width - 224) // 2, (image.height - 224) // 2
    return np.asarray(image.crop((x, y, x + 224, y + 224)))


def logits(name: str, patches: Rgb) -> np.ndarray:
    card = encoder_card(name)
    network = build_lite(card, package_file(card), classifier=True)
    classes = dataclasses.replace(card, dim=1000)
    return TorchPatchEncoder(classes, network, device=CPU, chunk=2).encode(patches)


@pytest.mark.parametrize("name", ["lite0", "lite1", "lite2"])
def test_lite_names_what_is_in_pictures(name: str) -> None:
    skip_without(name)
    cat, coffee = logits(name, np.stack([centre(data.chelsea()), centre(data.coffee())]))
    assert int(coffee.argmax()) == ESPRESSO
    assert set(np.argsort(cat)[-3:].tolist()) == CATS
    if name == "lite0":
        assert int(cat.argmax()) == 282


def test_lite_computes_what_timm_computes() -> None:
    skip_without("lite0")
    card = encoder_card("lite0")
    path = package_file(card)
    plain = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    plain.load_state_dict(_timm_names(plain, read_state_dict(card, path)), strict=True)
    cast(Any, plain).reset_classifier(0)
    plain.eval()
    fused = build_lite(card, path)
    # TensorFlow's padding is a layer of its own; without it the weights load and are wrong.
    assert type(fused.conv_stem).__name__ == "Conv2dSame"
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fused.modules())
    pixels = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(fused(pixels), plain(pixels), rtol=1e-3, atol=1e-4)


def test_lite_takes_a_file_in_timms_names_and_says_so(tmp_path: Path) -> None:
    card = encoder_card("lite0")
    own = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    save_file(own.state_dict(), tmp_path / "own.safetensors")
    encoder = create_encoder("lite0", device="cpu", weights=tmp_path / "own.safetensors")
    assert encoder.card.weights.startswith("sha256:")
    assert encoder.card.recipe() != card.recipe()


def test_the_packages_own_file_keeps_the_cards_recipe() -> None:
    skip_without("lite0")
    card = encoder_card("lite0")
    encoder = create_encoder("lite0", device="cpu", weights=package_file(card))
    assert encoder.card == card


def test_weights_of_another_network_are_refused() -> None:
    skip_without("lite1")
    other = package_file(encoder_card("lite1"))
    with pytest.raises(WeightsUnavailableError, match="does not hold the weights of lite0"):
        create_encoder("lite0", device="cpu", weights=other)


@pytest.mark.parametrize(
    ("model", "dim"),
    [("test_vit", 64), ("mobilenetv3_small_050", 1024), ("vit_tiny_patch16_224", 192)],
)
def test_timm_cards_know_the_dim_without_weights(model: str, dim: int) -> None:
    card = encoder_card(f"timm:{model}")
    assert card.dim == dim
    assert card.weights.startswith(f"hub:timm/{model}.")
    assert card.licence == "apache-2.0"
    assert card.commercial is True
    untrained = encoder_card(f"timm:{model}@random")
    assert untrained.weights.startswith("random:")
    assert "untrained" in untrained.honest_name


def test_random_weights_are_the_same_every_time_and_leave_the_seed_alone(tissue: Rgb) -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first = create_encoder("timm:test_vit@random", device="cpu")
    assert torch.equal(torch.rand(1), expected)
    second = create_encoder("timm:test_vit@random", device="cpu")
    assert isinstance(first, TorchPatchEncoder)
    assert isinstance(second, TorchPatchEncoder)
    assert np.array_equal(first.encode(tissue), second.encode(tissue))


def test_timm_loads_a_given_file(tmp_path: Path, tissue: Rgb) -> None:
    model = timm.create_model("test_vit", pretrained=False)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    encoder = create_encoder("timm:test_vit", device="cpu", weights=tmp_path / "w.safetensors")
    cast(Any, model).reset_classifier(0)
    direct = TorchPatchEncoder(encoder.card, model, device=CPU)
    assert isinstance(encoder, TorchPatchEncoder)
    assert encoder.card.weights.startswith("sha256:")
    assert np.array_equal(encoder.encode(tissue), direct.encode(tissue))
    with pytest.raises(WeightsUnavailableError, match="test_resnet"):
        create_encoder("timm:test_resnet", device="cpu", weights=tmp_path / "w.safetensors")


def test_a_model_without_published_weights_offers_the_untrained_one() -> None:
    name = "timm:convnext_atto_rms"
    if encoder_card(name).weights != "hub:none":
        pytest.skip(f"{name} has published weights now")
    assert "published nowhere" in (encoder_problem(name) or "")
    with pytest.raises(WeightsUnavailableError, match=f"{name}@random"):
        create_encoder(name, device="cpu")
