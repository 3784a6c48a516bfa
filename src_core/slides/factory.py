"""The way into a slide file, whatever its format.

Nothing that reads pixels is imported before a slide is opened.
"""

from __future__ import annotations

from pathlib import Path

from src_core.errors import SlideReadError
from src_core.slides.base import SlideReader
from src_core.slides.dicom import series_of

__all__ = ["open_slide"]


def open_slide(path: str | Path, *, slide_mpp: float | None = None) -> SlideReader:
    """Open a slide for lazy reading.

    Parameters
    ----------
    path : str or Path
        A file of any format that OpenSlide reads, one file or the folder of a DICOM series, a
        plain picture (PNG, JPEG, TIFF), or the folder of an OME-Zarr picture.
    slide_mpp : float, optional
        Micrometres per level-0 pixel, 0.05 to 5, for a slide that does not say or says it
        wrongly; it overrules what the file holds.

    Returns
    -------
    SlideReader
        Safe to read from several threads.

    Raises
    ------
    SlideReadError
        If there is no such file, or it is neither a slide nor a picture.
    SlideScaleError
        If `slide_mpp` is out of range.
    """
    path = Path(path)
    if path.is_dir():
        from src_core.slides.ome_zarr import is_zarr

        if is_zarr(path):
            return _open_picture(path, slide_mpp)
        return _open_folder(path, slide_mpp)
    if not path.is_file():
        raise SlideReadError(f"There is no file {path}; say where the slide is now.")
    return _open_file(path, slide_mpp)


def _open_picture(path: Path, slide_mpp: float | None) -> SlideReader:
    from src_core.slides.array_reader import ArrayReader

    return ArrayReader(path, slide_mpp=slide_mpp)


def _open_file(path: Path, slide_mpp: float | None) -> SlideReader:
    from openslide import OpenSlide

    from src_core.slides.array_reader import ArrayReader
    from src_core.slides.openslide_reader import OpenSlideReader

    vendor = OpenSlide.detect_format(path)
    if vendor is None:
        return ArrayReader(path, slide_mpp=slide_mpp)
    if vendor != "generic-tiff":
        return OpenSlideReader(path, slide_mpp=slide_mpp)
    # OpenSlide sees neither the levels that OME-TIFF hides in sub-files nor the compressions
    # that its libtiff was built without; tifffile may.
    try:
        reader = OpenSlideReader(path, slide_mpp=slide_mpp)
    except SlideReadError as refusal:
        try:
            return ArrayReader(path, slide_mpp=slide_mpp)
        except SlideReadError:
            raise refusal from None
    if len(reader.properties.level_dimensions) > 1:
        return reader
    return _more_levels(path, slide_mpp) or reader


def _more_levels(path: Path, slide_mpp: float | None) -> SlideReader | None:
    from src_core.slides.array_reader import ArrayReader

    try:
        reader = ArrayReader(path, slide_mpp=slide_mpp)
    except SlideReadError:
        return None
    return reader if len(reader.properties.level_dimensions) > 1 else None


def _open_folder(folder: Path, slide_mpp: float | None) -> SlideReader:
    """Open the one slide that a folder of DICOM files holds, by any file of its series."""
    from openslide import OpenSlide

    from src_core.slides.openslide_reader import OpenSlideReader

    files = sorted(file for file in folder.iterdir() if file.is_file())
    refusal = SlideReadError(
        f"{folder} holds no whole-slide DICOM file; give a slide file, or a folder of .dcm files."
    )
    slides: dict[str, tuple[Path, SlideReader]] = {}
    for file in files:
        if OpenSlide.detect_format(file) != "dicom" or (series := series_of(file)) in slides:
            continue
        try:
            slides[series] = file, OpenSlideReader(file, slide_mpp=slide_mpp, named=folder)
        except SlideReadError as error:
            refusal = error  # a label or another modality beside the slide: try the next
    if not slides:
        raise refusal
    if len(slides) > 1:
        names = ", ".join(file.name for file, _ in slides.values())
        raise SlideReadError(
            f"{folder} holds {len(slides)} slides; open one of them by a file of it: {names}."
        )
    ((_, reader),) = slides.values()
    return reader
