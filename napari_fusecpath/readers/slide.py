"""Opens whole-slide images: File > Open, or dropped on the window."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_fusecpath.jobs import JobFailure, runner_for
from napari_fusecpath.layers.find import find_layers, role_of
from napari_fusecpath.layers.slide import (
    cache_folder,
    prepare_viewer,
    shows_at_once,
    slide_layer,
    slide_layer_data,
)
from napari_fusecpath.layers.stack import follow_scale, insert_slide
from napari_fusecpath.layers.unused_paint import keep_paint
from napari_fusecpath.layers.unused_region import keep_region
from napari_fusecpath.notify import report_error, report_failure, report_info
from napari_fusecpath.state import workbench_of
from src_core.errors import FusecpathError, SlideReadError
from src_core.slides import SlideReader, open_slide
from src_core.slides.ome_zarr import is_zarr

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from tifffile import TiffPage

__all__ = [
    "PICTURES",
    "PLUGIN",
    "SUFFIXES",
    "get_reader",
    "is_our_reader_preferred",
    "open_in",
    "prefer_our_reader",
    "read_slide",
    "show_slide",
]

PLUGIN = "napari-fusecpath"
"""Our name in napari."""

SUFFIXES = (".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".dcm")
"""Files that are slides whatever they hold."""

_TIFF = (".tif", ".tiff")

_PATTERNS = tuple(f"*{suffix}" for suffix in (*SUFFIXES, *_TIFF))
"""As napari's settings name them."""

PICTURES = (*_TIFF, ".png", ".jpg", ".jpeg")
"""Files that may be anybody's."""

_LARGE_PX = 4096
"""A picture with a longer side is better read in pieces."""

_log = logging.getLogger(__name__)

LayerData: TypeAlias = tuple[Any, ...]
Paths: TypeAlias = str | Sequence[str]


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return the function that opens `path`, or None if it is not for us (napari's contract).

    A TIFF is for us if it is a slide, too large to be read whole, or one plain RGB picture of 8
    bits; grey and deep pictures, masks and stacks are not. A folder is if it holds DICOM or an
    OME-Zarr picture. PNG and JPEG are never asked about (`open_in`): were they in the manifest,
    napari would ask everyone who opens one which reader is meant.
    """
    one = _single(path)
    if one is None:
        return None
    suffix = one.suffix.lower()
    if one.is_dir():
        wanted = is_zarr(one) or _has_dicom(one)
    else:
        wanted = suffix in SUFFIXES or (suffix in _TIFF and _is_slide_tiff(one))
    return read_slide if wanted else None


def read_slide(path: Paths) -> list[LayerData]:
    """Open a slide as layer data.

    A slide without coarse levels would stop the window while napari averages it: then a job
    makes them, the layer follows when they are there, and nothing is returned for now. What is
    shown of the slide before goes at once: what is typed and painted is of the new one.

    Raises
    ------
    SlideReadError
        One sentence that says why it cannot be opened.
    """
    import napari

    one = _single(path)
    if one is None:
        raise SlideReadError("Open one slide at a time; a list of files is no slide.")
    return _layer_data(one, napari.current_viewer())


def open_in(viewer: Viewer, path: Path) -> None:
    """Open a slide or a plain picture in a viewer, without asking napari whose it is.

    Raises
    ------
    SlideReadError
        One sentence that says why it cannot be opened.
    """
    for levels, arguments, _ in (one for one in _layer_data(path, viewer) if len(one) == 3):
        is_first = not viewer.layers
        viewer.add_image(levels, **arguments)
        if is_first:
            viewer.reset_view()


def _layer_data(one: Path, viewer: Viewer | None) -> list[LayerData]:
    reader = open_slide(one, slide_mpp=None if viewer is None else _remembered_mpp(viewer, one))
    cache = cache_folder(one)
    levels, arguments = slide_layer_data(reader, cache)
    if viewer is not None:
        prepare_viewer(viewer)
        workbench_of(viewer).open_slide(one)
        if not shows_at_once(levels):
            _forget(viewer)
            _add_when_prepared(viewer, reader, cache, None)
            return [(None,)]
        _remove_slides(viewer)
        follow_scale(viewer, reader.properties.mpp)  # before napari adds, and so draws, the slide
    return [(levels, arguments, "image")]


def show_slide(viewer: Viewer, reader: SlideReader, cache: Path, *, slide_id: str | None) -> None:
    """Put a slide at the bottom of a viewer instead of the one that is there.

    It comes at once, or, if it lacks small levels, when a job has made them.

    Parameters
    ----------
    viewer : napari viewer
        Where.
    reader : SlideReader
        An open slide.
    cache : Path
        Folder of the levels that the file lacks, made if need be.
    slide_id : str, optional
        Its name in the project.
    """
    prepare_viewer(viewer)
    _remove_slides(viewer)
    if shows_at_once(reader.levels(cache)):
        insert_slide(viewer, slide_layer(reader, cache, slide_id=slide_id))
    else:
        _add_when_prepared(viewer, reader, cache, slide_id)


def is_our_reader_preferred() -> bool:
    """Whether napari opens slides by this plugin and asks nobody, by the user's settings."""
    from napari.settings import get_settings

    chosen = get_settings().plugins.extension2reader
    return all(chosen.get(pattern) == PLUGIN for pattern in _PATTERNS)


def prefer_our_reader(is_wanted: bool) -> None:
    """Let this plugin open slides from now on, or let napari ask: it is kept in its settings.

    What another program's reader was chosen for stays with that reader, except slides.
    """
    from napari.settings import get_settings

    plugins = get_settings().plugins
    others = {
        pattern: name
        for pattern, name in plugins.extension2reader.items()
        if pattern not in _PATTERNS or name != PLUGIN
    }
    ours = dict.fromkeys(_PATTERNS, PLUGIN) if is_wanted else {}
    plugins.extension2reader = others | ours


def _remembered_mpp(viewer: Viewer, path: Path) -> float | None:
    """Return the scale that the user has given the slide in the project that is open."""
    root = workbench_of(viewer).project
    if root is None:
        return None
    from src_core.project import Project  # loaded by now: without a project the slide comes sooner

    try:
        slide = Project.open(root).slide_at(path)
        return None if slide is None else slide.record.slide_mpp
    except FusecpathError as error:  # the slide can be looked at, whatever ails the project
        _log.info("%s: its project cannot be asked for its scale: %s", path.name, error)
        return None


def _remove_slides(viewer: Viewer) -> None:
    for old in find_layers(viewer, "slide"):
        viewer.layers.remove(old)


def _forget(viewer: Viewer) -> None:
    keep_paint(viewer)
    keep_region(viewer)
    for layer in list(viewer.layers):
        if role_of(layer) is not None:
            viewer.layers.remove(layer)


def _add_when_prepared(
    viewer: Viewer, reader: SlideReader, cache: Path, slide_id: str | None
) -> None:
    path = reader.properties.path
    job = runner_for(viewer).submit("pyramid", {"slide": str(path), "folder": str(cache)})
    report_info(f"{path.name} has no small levels; it opens as soon as they are made.")

    def is_wanted() -> bool:
        in_view = workbench_of(viewer).slide_path  # the user may have gone on to another slide
        return in_view is not None and in_view.absolute() == path.absolute()

    def leave(why: str) -> None:
        if is_wanted():
            workbench_of(viewer).slide_problem = why

    def add(_result: object) -> None:
        if not is_wanted():
            return
        try:
            layer = slide_layer(reader, cache, slide_id=slide_id)
        except FusecpathError as error:
            report_error(error)
            leave(str(error))
            return
        first = not viewer.layers
        insert_slide(viewer, layer)
        if first:
            viewer.reset_view()

    def fail(failure: JobFailure) -> None:
        report_failure(failure)
        leave(failure.message)

    job.done.connect(add)
    job.failed.connect(fail)
    job.cancelled.connect(lambda: leave("The making of its small levels was cancelled."))


def _single(path: Paths) -> Path | None:
    if isinstance(path, str):
        return Path(path)
    paths = [Path(one) for one in path]
    if len(paths) == 1:
        return paths[0]
    # The files of one DICOM slide, all selected: any of them opens it.
    dicom = {one.parent for one in paths if one.suffix.lower() == ".dcm"}
    return paths[0] if len(dicom) == 1 and len({one.suffix for one in paths}) == 1 else None


def _is_plain_rgb(page: TiffPage) -> bool:
    from tifffile import PHOTOMETRIC, PLANARCONFIG

    return (
        page.photometric in (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR)
        and page.planarconfig == PLANARCONFIG.CONTIG
        and page.samplesperpixel in (3, 4)
        and page.dtype == "uint8"
        and page.imagedepth == 1
    )


def _has_dicom(folder: Path) -> bool:
    return any(one.suffix.lower() == ".dcm" for one in folder.iterdir())


def _is_slide_tiff(path: Path) -> bool:
    from openslide import OpenSlide
    from tifffile import TiffFile

    if OpenSlide.detect_format(path) is not None:
        return True
    try:
        with TiffFile(path) as tiff:
            page = tiff.pages.first
            if page.samplesperpixel < 3:
                return False
            is_large = max(page.imagewidth, page.imagelength) > _LARGE_PX
            return is_large or (len(tiff.pages) == 1 and _is_plain_rgb(page))
    except (OSError, ValueError, IndexError) as error:  # TiffFileError is a ValueError
        _log.debug("%s is left to other readers: %s", path, error)
        return False
