"""What a reviewer's word for a patch means to a model that knows certain classes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from src_core.errors import ProjectError
from src_core.patches.grid import PatchGrid
from src_core.review.acts import Mark
from src_core.review.raster import label_numbers
from src_core.types import Int64

__all__ = ["ARTEFACT", "SILENT", "UNMARKED", "kinds_of", "meanings", "palette", "plain_label"]

SILENT = -1
"""The patch is of none of the classes: nothing is to be read in it."""
ARTEFACT = -2
"""As `SILENT`, and it belongs in no bag."""
UNMARKED = -3
"""Nobody has said anything that concerns the model."""

_ARTEFACTS = ("artefact", "artefacts", "artifact", "artifacts")
_NONE = ("none", "none of the classes", "nothing")
_NORMAL = ("normal", "benign", "healthy", "negative", "no tumour", "no tumor", "non-tumour")
_DISEASE = ("tumour", "tumor", "cancer", "carcinoma", "lesion", "disease")


def meanings(
    labels: Iterable[str], classes: Sequence[str], *, others: Collection[str] = ()
) -> dict[str, int]:
    """Return what each label means: the index of a class, `SILENT`, `ARTEFACT` or `UNMARKED`.

    A class is named as the task names it. ``artefact`` (or ``artifact``) is no tissue to learn
    from. ``not X``, X a class or a word such as tumour, and ``none`` are the task's normal class
    where it has one (normal, benign, healthy, negative, no tumour), and else none of its classes.
    Capitals do not matter, but where two classes differ by nothing else.

    Parameters
    ----------
    labels : iterable of str
        As reviewers have chosen them.
    classes : sequence of str
        Of the model.
    others : collection of str
        Classes of other targets: they say nothing about this one.

    Raises
    ------
    ProjectError
        If a label means none of these; the sentence has the ones that do.
    """
    found = {label: _meaning(label, classes, others) for label in labels}
    unknown = sorted(label for label, meaning in found.items() if meaning is None)
    if unknown:
        wanted = [name for name in classes if plain_label(name) not in _NORMAL][-1:]
        known = ", ".join([*classes, "artefact", *(f"not {name}" for name in wanted)])
        raise ProjectError(
            f"The model knows nothing that is called {unknown[0][:50]!r}, as patches are marked; "
            f"rename that label in Review to one of {known}, or wipe it."
        )
    return {label: meaning for label, meaning in found.items() if meaning is not None}


def palette(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the words by which a reviewer can say of any patch what it is.

    The classes, ``none`` where none of them is the normal one, and ``artefact``.
    """
    lowered = [plain_label(name) for name in classes]
    more = [] if any(name in _NORMAL for name in lowered) else [_NONE[0]]
    more.append(_ARTEFACTS[0])
    return (*classes, *(word for word in more if word not in lowered))


def kinds_of(grid: PatchGrid, marks: Iterable[Mark], meaning: Mapping[str, int]) -> Int64:
    """Return what the mark in force says of each patch of a grid, shape (N,).

    The marks may have been made on another grid; a later one holds over an earlier one.
    """
    names = list(meaning)
    numbers = label_numbers(grid, marks, names)
    kinds: Int64 = np.array([UNMARKED, *(meaning[name] for name in names)], dtype=np.int64)
    said: Int64 = kinds[numbers]
    return said


def _meaning(label: str, classes: Sequence[str], others: Collection[str]) -> int | None:
    plain, lowered = plain_label(label), [plain_label(name) for name in classes]
    if label in classes:
        return classes.index(label)
    if lowered.count(plain) == 1:
        return lowered.index(plain)
    if label in others:
        return UNMARKED
    return ARTEFACT if plain in _ARTEFACTS else _none_meaning(plain, lowered)


def _none_meaning(plain: str, lowered: list[str]) -> int | None:
    """Return what a word for the absence of disease means, None if it is no such word."""
    normal = [index for index, name in enumerate(lowered) if name in _NORMAL]
    what = plain.removeprefix("not ") if plain.startswith("not ") else None
    if what in [lowered[index] for index in normal]:
        return None  # not normal: but which of the others is it?
    if plain in (*_NONE, *_NORMAL) or what in (*lowered, *_DISEASE):
        return normal[0] if len(normal) == 1 else SILENT
    return None


def plain_label(text: str) -> str:
    """Return a label as it is compared: capitals and spaces make no other one."""
    return " ".join(text.casefold().split())
