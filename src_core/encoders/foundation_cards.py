"""Cards of the published pathology encoders whose networks are built here.

The numbers are those of the models' pages and of public code that runs them (TRIDENT, slide2vec,
LazySlide, STAMP). Where these disagree, the description says which was taken and why. No weights
are read here, and neither torch nor timm is needed.
"""

from __future__ import annotations

from typing import Any

from src_core.encoders.cards import EncoderCard, foundation_card

__all__ = ["FOUNDATION_CARDS", "IMAGENET", "INCEPTION"]

IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
INCEPTION: dict[str, Any] = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
_H_OPTIMUS: dict[str, Any] = {
    "mean": (0.707223, 0.578729, 0.703617),
    "std": (0.211883, 0.230117, 0.177517),
}
_LUNIT: dict[str, Any] = {
    "mean": (0.70322989, 0.53606487, 0.66096631),
    "std": (0.21716536, 0.26081574, 0.20723464),
}
_MAHMOOD: dict[str, Any] = {
    "licence": "CC-BY-NC-ND-4.0",
    "gated": True,
    "commercial": False,
    "filename": "pytorch_model.bin",
    **IMAGENET,
}
_BIN = "pytorch_model.bin"
_CLS = "The embedding is the class token."
_CLS_MEAN = "The embedding is the class token beside the mean of the patch tokens"


def _kaiko(size: str, arch: str, *, dim: int, parameters_m: float) -> EncoderCard:
    return foundation_card(
        f"kaiko-{size}",
        f"Kaiko ViT {size.removeprefix('vit').upper()} (kaiko.ai)",
        dim=dim,
        description=(
            f"DINO or DINOv2 on TCGA at several magnifications. {_CLS} The weights are those that "
            "were converted for timm; resizing is bilinear as in TRIDENT."
        ),
        repository=f"1aurent/{arch}.kaiko_ai_towards_large_pathology_fms",
        licence="kaiko-non-commercial",
        commercial=False,
        parameters_m=parameters_m,
        **INCEPTION,
    )


FOUNDATION_CARDS: tuple[EncoderCard, ...] = (
    foundation_card(
        "conch_v15",
        "CONCH v1.5 (Mahmood Lab)",
        dim=768,
        description=(
            "The image tower of a vision-language model: ViT-L/16 at 448 px, one attention-pooled "
            "query and a layer norm. Resizing is bilinear as in TRIDENT, of the same laboratory; "
            "LazySlide takes bicubic. The view that TITAN reads."
        ),
        repository="MahmoodLab/conchv1_5",
        patch_px=512,
        input_px=448,
        precision="float16",
        parameters_m=306.11,
        **{**_MAHMOOD, "filename": "pytorch_model_vision.bin"},
    ),
    foundation_card(
        "virchow2",
        "Virchow2 (Paige)",
        dim=2560,
        description=(
            f"ViT-H/14 with 4 registers, DINOv2 on 3.1 million slides. {_CLS_MEAN}, as its page "
            "recommends; STAMP takes the class token alone (1280)."
        ),
        repository="paige-ai/Virchow2",
        filename=_BIN,
        licence="CC-BY-NC-ND-4.0",
        gated=True,
        commercial=False,
        patch_px=224,
        interpolation="bicubic",
        precision="float16",
        parameters_m=631.24,
        **IMAGENET,
    ),
    foundation_card(
        "gigapath",
        "Prov-GigaPath tile encoder (Microsoft, Providence)",
        dim=1536,
        description=(
            f"ViT-g with patches of 16 px, DINOv2 on 171 000 slides. {_CLS} Patches are resized "
            "to 256 px and cropped to 224 as in its own pipeline; timm's settings would leave out "
            "the crop. Commercial use is unclear: the licence is Apache-2.0, and its page calls "
            "any deployed use out of scope."
        ),
        repository="prov-gigapath/prov-gigapath",
        filename=_BIN,
        licence="Apache-2.0, research use asked for on its page",
        gated=True,
        commercial=None,
        resize_px=256,
        interpolation="bicubic",
        precision="float16",
        parameters_m=1134.95,
        **IMAGENET,
    ),
    foundation_card(
        "phikon-v2",
        "Phikon-v2 (Owkin)",
        dim=1024,
        description=(
            f"ViT-L/16, DINOv2 on 58 000 public slides. {_CLS} Published in the format of "
            "transformers and read without it; resizing is bilinear as in TRIDENT."
        ),
        repository="owkin/phikon-v2",
        licence="Owkin non-commercial",
        commercial=False,
        patch_px=224,
        parameters_m=303.35,
        **IMAGENET,
    ),
    foundation_card(
        "midnight12k",
        "Midnight-12k (kaiko.ai)",
        dim=3072,
        description=(
            f"ViT-g/14 without registers, DINOv2 on 12 000 slides of TCGA. {_CLS_MEAN}, as its "
            "page recommends; TRIDENT's default is the class token alone (1536). Published in the "
            "format of transformers and read without it."
        ),
        repository="kaiko-ai/midnight",
        licence="MIT",
        commercial=True,
        patch_px=224,
        precision="float16",
        parameters_m=1134.77,
        **INCEPTION,
    ),
    foundation_card(
        "h-optimus-0",
        "H-optimus-0 (Bioptimus)",
        dim=1536,
        description=(
            f"ViT-g/14 with 4 registers, DINOv2 on 500 000 slides. {_CLS} Lists differ on whether "
            "its page asks to agree to its terms before the download; if it does, the message "
            "says so."
        ),
        repository="bioptimus/H-optimus-0",
        filename=_BIN,
        licence="Apache-2.0",
        commercial=True,
        patch_px=224,
        precision="float16",
        parameters_m=1134.77,
        **_H_OPTIMUS,
    ),
    _kaiko("vits8", "vit_small_patch8_224", dim=384, parameters_m=21.67),
    _kaiko("vits16", "vit_small_patch16_224", dim=384, parameters_m=21.67),
    _kaiko("vitb8", "vit_base_patch8_224", dim=768, parameters_m=85.81),
    _kaiko("vitb16", "vit_base_patch16_224", dim=768, parameters_m=85.80),
    _kaiko("vitl14", "vit_large_patch14_reg4_dinov2", dim=1024, parameters_m=304.37),
    foundation_card(
        "lunit-vits8",
        "Lunit DINO ViT-S/8",
        dim=384,
        description=(
            f"DINO on TCGA and an in-house set. {_CLS} Colours are scaled by the statistics that "
            "Lunit names with the weights (issue 3 of github.com/lunit-io/benchmark-ssl-pathology, "
            "and its release pretrained-weights), as in kaiko's eva and slide2vec. The settings "
            "beside the converted weights, which TRIDENT follows, say ImageNet's and crop a tenth; "
            "Lunit names no crop, and the whole patch is shown."
        ),
        repository="1aurent/vit_small_patch8_224.lunit_dino",
        licence="lunit-non-commercial",
        commercial=False,
        patch_px=224,
        interpolation="bicubic",
        parameters_m=21.67,
        **_LUNIT,
    ),
    foundation_card(
        "gpfm",
        "GPFM (HKUST)",
        dim=1024,
        description=(
            f"ViT-L/14 distilled from several experts. {_CLS} Of two licences told for it "
            "(CC-BY-NC-ND-4.0 and MIT) the stricter is taken, and of two precisions its "
            "authors' float32. They prefer patches of 512 px at 40x."
        ),
        repository="majiabo/GPFM",
        filename="GPFM.pth",
        licence="CC-BY-NC-ND-4.0",
        commercial=False,
        patch_px=224,
        interpolation="bicubic",
        parameters_m=303.23,
        **IMAGENET,
    ),
    foundation_card(
        "phikon",
        "Phikon (Owkin)",
        dim=768,
        description=(
            f"ViT-B/16, iBOT on 6 000 slides of TCGA. {_CLS} Published in the format of "
            "transformers and read without it; resizing is bilinear as in TRIDENT."
        ),
        repository="owkin/phikon",
        filename=_BIN,
        licence="Owkin non-commercial",
        commercial=False,
        patch_px=224,
        parameters_m=85.80,
        **IMAGENET,
    ),
    foundation_card(
        "uni",
        "UNI (Mahmood Lab)",
        dim=1024,
        description=(
            f"ViT-L/16, DINOv2 on 100 000 slides. {_CLS} Resizing is bilinear as its page has it; "
            "LazySlide takes bicubic."
        ),
        repository="MahmoodLab/UNI",
        precision="float16",
        parameters_m=303.35,
        **_MAHMOOD,
    ),
    foundation_card(
        "uni2-h",
        "UNI2-h (Mahmood Lab)",
        dim=1536,
        description=(
            f"ViT-h/14 with 8 registers, DINOv2 on 350 000 slides. {_CLS} Precision is bfloat16 "
            "as in TRIDENT, of the same laboratory; slide2vec takes float16."
        ),
        repository="MahmoodLab/UNI2-h",
        precision="bfloat16",
        parameters_m=681.39,
        **_MAHMOOD,
    ),
    foundation_card(
        "virchow",
        "Virchow (Paige)",
        dim=2560,
        description=(
            f"ViT-H/14, DINOv2 on 1.5 million slides. {_CLS_MEAN}. The view that PRISM reads. "
            "Commercial use is unclear: the licence is Apache-2.0, and its page asks what it is "
            "wanted for."
        ),
        repository="paige-ai/Virchow",
        filename=_BIN,
        licence="Apache-2.0, with terms on its page",
        gated=True,
        commercial=None,
        patch_px=224,
        interpolation="bicubic",
        precision="float16",
        parameters_m=631.23,
        **IMAGENET,
    ),
    foundation_card(
        "h-optimus-1",
        "H-optimus-1 (Bioptimus)",
        dim=1536,
        description=f"The network of H-optimus-0, trained on 1 million slides. {_CLS}",
        repository="bioptimus/H-optimus-1",
        filename=_BIN,
        licence="CC-BY-NC-ND-4.0",
        gated=True,
        commercial=False,
        patch_px=224,
        precision="float16",
        parameters_m=1134.77,
        **_H_OPTIMUS,
    ),
    foundation_card(
        "h0-mini",
        "H0-mini (Bioptimus, Owkin)",
        dim=1536,
        description=(
            f"ViT-B/14 with 4 registers, distilled from H-optimus-0. {_CLS_MEAN}, as its page "
            "does; TRIDENT's default is the class token alone (768)."
        ),
        repository="bioptimus/H0-mini",
        licence="CC-BY-NC-ND-4.0",
        gated=True,
        commercial=False,
        patch_px=224,
        interpolation="bicubic",
        precision="float16",
        parameters_m=85.74,
        **_H_OPTIMUS,
    ),
)
"""Loaded by :mod:`src_core.encoders.foundation_timm` and :mod:`src_core.encoders.conch`."""
