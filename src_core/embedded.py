"""Slides that the same encoders have embedded, ready to be worked on together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from src_core.embeddings.store import EmbeddingView
from src_core.errors import ProjectError, TooFewPatchesError
from src_core.patches.grid import PatchGrid
from src_core.pipeline import Failure, each_slide, stored_views
from src_core.progress import Stop
from src_core.project import SlideFolder
from src_core.provenance import recipe_id

__all__ = ["EmbeddedSlide", "gather_alike"]


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedSlide:
    """A slide, its patches in use, and their embeddings by every encoder."""

    slide: SlideFolder
    grid: PatchGrid
    views: tuple[EmbeddingView, ...]

    @classmethod
    def of(cls, slide: SlideFolder, encoders: Sequence[str]) -> EmbeddedSlide:
        """Gather what is stored.

        Raises
        ------
        TooFewPatchesError
            If it has no patch.
        GridMismatchError
            If some patches are not embedded yet.
        """
        grid = slide.load_grid()
        if not len(grid):
            raise TooFewPatchesError(
                f"Slide {slide.slide_id!r} has no patch; check its tissue mask."
            )
        return cls(slide, grid, stored_views(slide, grid, encoders))

    @property
    def weights(self) -> dict[str, str]:
        """By encoder, a name for all that decides its embeddings."""
        return {view.encoder: recipe_id(view.recipe) for view in self.views}


def gather_alike(
    slides: Sequence[SlideFolder],
    encoders: Sequence[str],
    *,
    first: EmbeddedSlide | None = None,
    stop: Stop,
) -> tuple[list[EmbeddedSlide], list[Failure]]:
    """Gather slides whose embeddings can be compared.

    Parameters
    ----------
    slides : sequence of SlideFolder
    encoders : sequence of str
    first : EmbeddedSlide, optional
        Whose weights the others must have; else those of the first that is embedded.
    stop : callable
        Asked between slides.

    Returns
    -------
    slides : list of EmbeddedSlide
        `first` leads them.
    failures : list of Failure
        Slides that are not embedded, or by other weights.
    """
    found = [] if first is None else [first]

    def gather(slide: SlideFolder) -> None:
        one = EmbeddedSlide.of(slide, encoders)
        if found and one.weights != found[0].weights:
            raise ProjectError(
                f"Slide {slide.slide_id!r} is embedded by other weights than "
                f"{found[0].slide.slide_id!r}; prepare it again to compare them."
            )
        found.append(one)

    failures = each_slide(slides, gather, stop=stop)
    return found, failures
