"""Cards of published patch encoders that are not built here: their embeddings are imported.

Their code is their authors' own (packages from GitHub, code that a model repository brings), or
their weights are not on Hugging Face. Importing needs to know what the numbers are; that is here.
"""

from __future__ import annotations

from typing import Any

from src_core.encoders.cards import EncoderCard, foundation_card
from src_core.encoders.foundation_cards import IMAGENET, INCEPTION

__all__ = ["IMPORT_CARDS"]

_CLIP: dict[str, Any] = {
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
}
_HIBOU: dict[str, Any] = {
    "mean": (0.7068, 0.5755, 0.722),
    "std": (0.195, 0.2316, 0.1816),
    "licence": "Apache-2.0",
    "gated": True,
    "commercial": True,
    "patch_px": 224,
    "interpolation": "bicubic",
}


def _swin(name: str, honest_name: str, *, page: str, **fields: Any) -> EncoderCard:
    return foundation_card(
        name,
        honest_name,
        dim=768,
        page=page,
        mpp=1.0,
        parameters_m=27.5,
        **{**IMAGENET, **fields},
    )


IMPORT_CARDS: tuple[EncoderCard, ...] = (
    foundation_card(
        "conch",
        "CONCH v1 (Mahmood Lab)",
        dim=512,
        description=(
            "The image tower of a vision-language model, ViT-B/16; embeddings for slides are "
            "those before the projection. Its interpolation is not stated; bicubic is likely."
        ),
        page="https://huggingface.co/MahmoodLab/conch",
        licence="CC-BY-NC-ND-4.0",
        gated=True,
        commercial=False,
        patch_px=512,
        input_px=448,
        interpolation="bicubic",
        **_CLIP,
    ),
    foundation_card(
        "musk",
        "MUSK (Stanford)",
        dim=1024,
        description=(
            "A vision-language model, BEiT-3 large. TRIDENT's 1024 numbers are meant; other tools "
            "look at several scales and give 2048."
        ),
        page="https://huggingface.co/xiangjx/musk",
        licence="CC-BY-NC-ND-4.0",
        gated=True,
        commercial=False,
        patch_px=384,
        input_px=384,
        interpolation="bicubic",
        precision="float16",
        parameters_m=675.2,
        **INCEPTION,
    ),
    _swin(
        "ctranspath",
        "CTransPath",
        description=(
            "Swin-T with a convolutional stem, MoCo v3 on TCGA and PAIP. What TRIDENT calls "
            "ctranspath is chief-ctranspath."
        ),
        page="https://github.com/Xiyue-Wang/TransPath",
        licence="GPL-3.0",
        commercial=True,
    ),
    _swin(
        "chief-ctranspath",
        "CTransPath of CHIEF (Harvard)",
        description=(
            "CTransPath as it comes with CHIEF. Commercial use is unclear: lists say AGPL-3.0, "
            "its page GPL-3.0 for non-commercial academic use."
        ),
        page="https://github.com/hms-dbmi/CHIEF",
        licence="GPL-3.0 or AGPL-3.0, non-commercial by its page",
        commercial=None,
    ),
    foundation_card(
        "openmidnight",
        "OpenMidnight (Sophont)",
        dim=1536,
        description="ViT-g/14 with 4 registers, DINOv2 on TCGA. The class token is meant.",
        page="https://huggingface.co/SophontAI/OpenMidnight",
        licence="Apache-2.0",
        gated=True,
        commercial=True,
        patch_px=224,
        precision="float16",
        parameters_m=1100.0,
        **IMAGENET,
    ),
    foundation_card(
        "hibou-b",
        "Hibou-B (HistAI)",
        dim=768,
        description="ViT-B/14 with 4 registers, DINOv2. The pooled output is meant.",
        page="https://huggingface.co/histai/hibou-b",
        parameters_m=85.7,
        **_HIBOU,
    ),
    foundation_card(
        "hibou-l",
        "Hibou-L (HistAI)",
        dim=1024,
        description="ViT-L/14 with 4 registers, DINOv2. The pooled output is meant.",
        page="https://huggingface.co/histai/hibou-L",
        parameters_m=303.7,
        **_HIBOU,
    ),
    foundation_card(
        "keep",
        "KEEP",
        dim=768,
        description=(
            "The image tower of a vision-language model; embeddings are projected and of length "
            "one. Commercial use is unclear: its page states no licence that we know of."
        ),
        page="https://huggingface.co/Astaxanthin/KEEP",
        licence="not known; see the source",
        commercial=None,
        interpolation="bicubic",
        precision="float16",
        **IMAGENET,
    ),
    foundation_card(
        "genbio-pathfm",
        "GenBio-PathFM",
        dim=4608,
        description=(
            "ViT-g/16 with 4 registers; each colour channel is a picture of its own, and the "
            "embedding is their three class tokens."
        ),
        page="https://huggingface.co/genbio-ai/genbio-pathfm",
        licence="GenBio AI Community License",
        commercial=False,
        patch_px=224,
        precision="bfloat16",
        parameters_m=1100.0,
        mean=(0.697, 0.575, 0.728),
        std=(0.188, 0.240, 0.187),
    ),
    foundation_card(
        "resnet50-truncated",
        "ResNet-50 cut after its third stage (ImageNet)",
        dim=1024,
        description=(
            "The encoder of older work (CLAM); it has never seen tissue. For a ResNet that runs "
            "here, take timm:resnet50.tv_in1k."
        ),
        page="https://huggingface.co/timm/resnet50.tv_in1k",
        licence="BSD-3-Clause",
        commercial=True,
        parameters_m=8.54,
        **IMAGENET,
    ),
)
"""None of them can be created; :func:`~src_core.encoders.registry.create_encoder` says so."""
