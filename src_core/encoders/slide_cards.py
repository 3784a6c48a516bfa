"""Cards of the published slide encoders: which are loaded here, and what they cost.

The facts are those of their pages and of public code that runs them (TRIDENT, slide2vec).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from src_core.encoders.cards import EncoderCard

__all__ = ["SLIDE_CARDS", "most_patches", "predicted_bytes"]

_CC_NC_ND = "CC-BY-NC-ND-4.0"
_HUGGING_FACE = "https://huggingface.co/"
_ONLY_IMPORTED = (
    "It is not run here: compute its slide embeddings with the code of its authors and import them."
)


def _card(
    name: str, honest_name: str, *, description: str, page: str = "", **fields: Any
) -> EncoderCard:
    repository = fields.pop("repository", None)
    return EncoderCard(
        name=name,
        kind="slide",
        honest_name=honest_name,
        description=description,
        source_url=page or f"{_HUGGING_FACE}{repository}",
        weights=f"hub:{repository or 'none'}",
        repository=repository,
        own_lattice=True,
        **{"mpp": 0.5, "summary": f"{honest_name}: one embedding a slide", **fields},
    )


def _imported(name: str, honest_name: str, *, description: str = "", **fields: Any) -> EncoderCard:
    return _card(name, honest_name, description=f"{description} {_ONLY_IMPORTED}".strip(), **fields)


SLIDE_CARDS: dict[EncoderCard, str | None] = {
    _card(
        "gigapath-slide",
        "Prov-GigaPath slide encoder (Microsoft, Providence)",
        dim=768,
        description=(
            "LongNet over GigaPath tile embeddings, pretrained on 171 000 slides as a masked "
            "autoencoder. Its vector differs with the layer and the pooling that a tool takes."
        ),
        repository="prov-gigapath/prov-gigapath",
        filename="slide_encoder.pth",
        download_mb=345,
        licence="Apache-2.0, research use asked for on its page",
        gated=True,
        patch_px=256,
        patch_encoder="gigapath",
        output="mean of the patch tokens, normalised, state 11 of 0 to 12",
    ): "gigapath_slide:load_gigapath_slide",
    _card(
        "titan",
        "TITAN (Mahmood Lab)",
        dim=768,
        description=(
            "A vision transformer over CONCH v1.5 embeddings of 512 px patches, aligned with "
            "reports. Its code comes with its weights; its memory grows with the square of the "
            "number of patches. Its terms count models trained on its output as derivatives."
        ),
        repository="MahmoodLab/TITAN",
        # The commit that slide2vec pins.
        revision="dac6773d9961cfc75503440676ff157a2c6e8d2e",
        download_mb=640,
        licence=_CC_NC_ND,
        gated=True,
        commercial=False,
        precision="float16",
        patch_px=512,
        patch_encoder="conch_v15",
    ): "remote_slides:load_titan",
    _card(
        "prism",
        "PRISM (Paige, Microsoft)",
        dim=1280,
        description=(
            "A perceiver over Virchow (the first) embeddings of 224 px patches, aligned with "
            "reports and blind to places. Its code comes with its weights. Its terms count models "
            "trained on its output as derivatives."
        ),
        repository="paige-ai/Prism",
        download_mb=2230,
        licence=_CC_NC_ND,
        gated=True,
        commercial=False,
        precision="float16",
        patch_px=224,
        patch_encoder="virchow",
        output="image_embedding",
    ): "remote_slides:load_prism",
    _imported(
        "prism2",
        "PRISM2 (Paige), base embedding",
        dim=2560,
        description="Reads the class tokens of Virchow2.",
        repository="paige-ai/Prism2",
        licence=_CC_NC_ND,
        gated=True,
        commercial=False,
        patch_px=224,
        patch_encoder="virchow2",
    ): None,
    _imported(
        "chief",
        "CHIEF (Harvard)",
        dim=768,
        description="Attention pooling over CHIEF's own CTransPath.",
        page="https://github.com/hms-dbmi/CHIEF",
        licence="AGPL-3.0, told as GPL-3.0 elsewhere",
        patch_px=256,
        mpp=1.0,
        patch_encoder="chief-ctranspath",
    ): None,
    _imported(
        "madeleine",
        "MADELEINE (Mahmood Lab)",
        dim=512,
        description="Attention pooling over CONCH, aligned across stains of breast and kidney.",
        repository="MahmoodLab/madeleine",
        licence=_CC_NC_ND,
        commercial=False,
        patch_px=256,
        mpp=1.0,
        patch_encoder="conch",
    ): None,
    _imported(
        "feather",
        "FEATHER (Mahmood Lab)",
        dim=512,
        description="Attention pooling over CONCH v1.5, trained to tell 108 cancers apart.",
        repository="MahmoodLab/abmil.base.conch_v15.pc108-24k",
        licence=_CC_NC_ND,
        gated=True,
        commercial=False,
        patch_px=512,
        patch_encoder="conch_v15",
    ): None,
    _imported(
        "care",
        "CARE",
        dim=512,
        repository="Zipper-1/CARE",
        licence="not stated here; see its page",
        gated=True,
        patch_px=512,
        patch_encoder="conch_v15",
    ): None,
    _imported(
        "moozy",
        "MOOZY (AtlasAnalytics Lab)",
        dim=768,
        page="https://github.com/AtlasAnalyticsLab/MOOZY",
        licence="not stated here; see its page",
        patch_px=224,
        patch_encoder="lunit-vits8",
    ): None,
    _imported(
        "cobra2",
        "COBRA II over Virchow2 (KatherLab)",
        dim=768,
        description="State-space layers and attention over the embeddings of several encoders.",
        page="https://github.com/KatherLab/COBRA",
        licence="not stated here; see its page",
        patch_px=224,
        patch_encoder="virchow2",
    ): None,
    _imported(
        "eagle",
        "EAGLE (KatherLab)",
        dim=1280,
        description=(
            "The mean of Virchow2's class tokens of the 25 patches to which CHIEF attends most; "
            "CHIEF reads the same patches by CTransPath, at 2 µm per pixel."
        ),
        page="https://github.com/KatherLab/EAGLE",
        licence="not stated here; see its page",
        patch_px=224,
        mpp=2.0,
        patch_encoder="virchow2",
    ): None,
    _imported(
        "threads",
        "THREADS (Mahmood Lab)",
        dim=1024,
        description=(
            "Attention pooling over CONCH v1.5, aligned with genes and their expression. Its "
            "weights are not published, so embeddings of any length are taken."
        ),
        page="https://arxiv.org/abs/2501.16652",
        licence="none published",
        patch_px=512,
        patch_encoder="conch_v15",
        varies=True,
    ): None,
    _imported(
        "abmil",
        "Attention pooling trained by its user (ABMIL)",
        dim=768,
        description=(
            "It has no published weights: whoever trained it chose the patch encoder, and its "
            "embeddings are as long as those of the patches. CONCH v1.5 stands here as an example."
        ),
        page="https://github.com/mahmoodlab/TRIDENT",
        licence="that of its patch encoder; ask who trained it",
        patch_px=512,
        patch_encoder="conch_v15",
        varies=True,
    ): None,
}
"""Each with its loader in :mod:`src_core.encoders`, or None if it is only imported."""


@dataclass(frozen=True, slots=True)
class _Cost:
    """Bytes beside the weights, from arithmetic over the published networks."""

    per_pair: int = 0
    per_patch: int = 0
    fixed: int = 0


_COSTS = {
    # Offsets (16) and distances (8) of all pairs in float64, and a bias of 12 heads (48).
    "titan": _Cost(per_pair=72, per_patch=60_000),
    # 512 latents by 8 heads, twice, and the patches themselves.
    "prism": _Cost(per_patch=60_000),
    # Tokens 12 times, the feed-forward layer three times; the scores held at once, twice.
    "gigapath-slide": _Cost(per_patch=75_000, fixed=2**28),
}
_AS_MEAN = _Cost(per_patch=3 * 8 * 2560)


def predicted_bytes(card: EncoderCard, n_patches: int) -> int:
    """Return about how much memory `card` takes for a slide, beside its weights.

    Parameters
    ----------
    card : EncoderCard
        Of a slide encoder.
    n_patches : int
        Patches of the slide.
    """
    cost = _COSTS.get(card.name, _AS_MEAN)
    return cost.per_pair * n_patches**2 + cost.per_patch * n_patches + cost.fixed


def most_patches(card: EncoderCard, free_bytes: int) -> int:
    """Return for how many patches `free_bytes` are enough; see `predicted_bytes`."""
    cost = _COSTS.get(card.name, _AS_MEAN)
    left = max(0, free_bytes - cost.fixed)
    if cost.per_pair == 0:
        return left // cost.per_patch
    half = cost.per_patch / (2 * cost.per_pair)
    return max(0, math.floor(math.sqrt(half**2 + left / cost.per_pair) - half))
