"""The verb ``prepare``: slides, their tissue, patches and embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from src_core import pipeline, preparing
from src_core.config import Config, Help, Range
from src_core.encoders.presets import PRESETS, PresetName
from src_core.encoders.registry import encoder_card, import_problem, list_encoders
from src_core.encoders.remote_code import agree
from src_core.encoders.scale import scale_note
from src_core.errors import ConfigError
from src_core.exchange.imports import is_embedded
from src_core.forgetting import forget_slide
from src_core.patches.lattice import Lattice
from src_core.pipeline import Embedded, Failure
from src_core.preparing import Prepared
from src_core.progress import Report, Stop
from src_core.project import Project, ProjectConfig, SlideFolder
from src_core.scheduler import prepare_on_cluster
from src_core.slides.find import told
from src_core.verbs.base import Device, ProjectPath, Result, Verb, as_lines, result_of
from src_core.verbs.settings import Settings, settings_help, with_settings
from src_core.verbs.taking import take_slides

__all__ = ["PREPARE", "PrepareOptions"]

_NOT_JUDGED = (
    "Its patches were not judged for flaws, for these are told by the colours of a brightfield "
    "stain such as H&E, and quality.exclude leaves none out."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareOptions(Config):
    """Settings of ``prepare``."""

    project: ProjectPath
    slides: Annotated[
        tuple[str, ...],
        Help("Slides, folders of them (and of folders), or tables (CSV); the project's if none"),
    ] = ()
    encoders: Annotated[tuple[str, ...], Help("Patch encoders; the project's if none")] = ()
    teachers: Annotated[tuple[str, ...], Help("Slide encoders to distil from")] = ()
    preset: Annotated[
        PresetName | None, Help("Encoders and teachers by one name, where none are named")
    ] = None
    labels: Annotated[str | None, Help("Table of slides and labels (CSV)")] = None
    slide_mpp: Annotated[
        float | Literal["auto"] | None,
        Range(0.05, 5),
        Help("Micrometres per pixel of the one slide that is named; auto: what the file says"),
    ] = None
    max_patches: Annotated[
        int | None,
        Range(1, 10_000_000),
        Help("Patches of a slide that a teacher with its own grid reads, at most", True),
    ] = None
    trust_remote_code: Annotated[
        tuple[str, ...],
        Help("Teachers whose code may run here, as NAME or NAME@COMMIT; it is remembered", True),
    ] = ()
    tissue: Annotated[
        str | None,
        Help("Your own tissue: a GeoJSON file, or a folder with SLIDE.geojson for each slide"),
    ] = None
    roi: Annotated[
        str | None, Help("Region of interest, likewise: only patches inside are taken")
    ] = None
    whole_slide: Annotated[bool, Help("Forget the region of interest")] = False
    fresh_tissue: Annotated[
        bool, Help("Find the tissue again, even where it was painted or your own")
    ] = False
    forget: Annotated[
        tuple[str, ...],
        Help("Slides whose files were replaced: what was made of them is laid aside first", True),
    ] = ()
    set: Settings = ()
    embed: Annotated[bool, Help("Embed the patches, not only find them")] = True
    device: Device = "auto"
    scheduler: Annotated[
        str | None, Help("Address of a dask scheduler, to prepare slides on its workers", True)
    ] = None


def _prepare(options: PrepareOptions, report: Report, stop: Stop) -> Result:
    known = _known_project(options)
    project = _project_for(options, known)
    for name in options.forget:
        forget_slide(project, name, report=report, stop=stop)
    taken = take_slides(
        project, options.slides, options.labels, options.slide_mpp, report=report, stop=stop
    )
    slides, failures = taken.slides, taken.failures
    if project.config.grid != _config_of(known).grid:
        failures += _not_moved(slides, options)
    _check_wishes(options, len(slides))
    work = _prepare_here if options.scheduler is None else _prepare_on_cluster
    embedded = work(project, slides, options, report, stop)
    found = {slide.slide_id: preparing.stored_grid(project, slide) for slide in slides}
    ready = {name: one for name, one in found.items() if one is not None}
    unreadable = {name: one.unreadable for name, one in ready.items() if one.unreadable}
    unlike = _cohort_notes(project, [one.grid.lattice for one in ready.values()])
    notes = {**(unlike if options.embed else {}), **_slide_notes(ready, embedded.notes)}
    return result_of(
        project,
        failures + embedded.failures,
        patches={name: len(one.grid) for name, one in ready.items()},
        flagged={name: one.flagged for name, one in ready.items()},
        excluded={name: one.excluded for name, one in ready.items()},
        **({"unreadable": unreadable} if unreadable else {}),
        **embedded.summary(),
        **({"passed_over": told(taken.passed_over)} if taken.passed_over else {}),
        **({"notes": notes} if notes else {}),
    )


def _slide_notes(ready: Mapping[str, Prepared], told: Mapping[str, str]) -> dict[str, str]:
    """Return, by slide, what was `told` of it, and whether its patches were not judged."""
    skipped = {name: _NOT_JUDGED for name, one in ready.items() if one.is_unjudged}
    names = dict.fromkeys((*skipped, *told))
    return {name: " ".join(one[name] for one in (skipped, told) if name in one) for name in names}


def _cohort_notes(project: Project, lattices: Sequence[Lattice]) -> dict[str, str]:
    """Return, by encoder, what to say of its patches, and of how all slides were embedded."""
    unlike = _scale_notes(project, lattices)
    mixed = pipeline.computed_notes(project.slides(), project.config.encoders)
    names = dict.fromkeys((*unlike, *mixed))
    return {name: " ".join(one[name] for one in (unlike, mixed) if name in one) for name in names}


def _scale_notes(project: Project, lattices: Sequence[Lattice]) -> dict[str, str]:
    """Return, by encoder, what to say of patches unlike those that it was made for, once each."""
    sizes = dict.fromkeys((one.mpp, one.patch_px) for one in lattices)
    known = list_encoders("patch")  # of an imported encoder there may be the name alone
    notes: dict[str, str] = {}
    for name in project.config.encoders:
        for mpp, patch_px in sizes if name in known else ():
            note = scale_note(encoder_card(name), mpp=mpp, patch_px=patch_px)
            if note is not None:
                notes.setdefault(name, note)
    return notes


def _prepare_here(
    project: Project,
    slides: Sequence[SlideFolder],
    options: PrepareOptions,
    report: Report,
    stop: Stop,
) -> Embedded:
    ready: list[SlideFolder] = []

    def find(slide: SlideFolder) -> None:
        wishes = _wishes(options, slide)
        preparing.prepare_grid(project, slide, wishes, report=report, stop=stop)
        ready.append(slide)

    failures = pipeline.each_slide(slides, find, stop=stop)
    if not options.embed:
        return Embedded(failures)
    embedded = pipeline.embed_slides(
        project, ready, device=options.device, report=report, stop=stop
    )
    return replace(embedded, failures=failures + embedded.failures)


def _prepare_on_cluster(
    project: Project,
    slides: Sequence[SlideFolder],
    options: PrepareOptions,
    report: Report,
    stop: Stop,
) -> Embedded:
    wishes: dict[str, preparing.Wishes] = {}
    notes: dict[str, str] = {}

    def wish(slide: SlideFolder) -> None:
        wishes[slide.slide_id] = _wishes(options, slide)

    failures = pipeline.each_slide(slides, wish, stop=stop)
    failures += prepare_on_cluster(
        str(options.scheduler),
        project,
        wishes,
        embed=options.embed,
        device=options.device,
        report=report,
        stop=stop,
        notes=notes,
    )
    return Embedded(failures, notes=notes)  # the pace is known to each worker alone


def _check_wishes(options: PrepareOptions, n_slides: int) -> None:
    """Raise if what is brought contradicts itself, or is for one slide where there are more."""
    if options.tissue is not None and options.fresh_tissue:
        raise ConfigError("Give either your own tissue or fresh_tissue, not both.")
    if options.roi is not None and options.whole_slide:
        raise ConfigError("Give either a region of interest or whole_slide, not both.")
    for name in (options.tissue, options.roi):
        if name is not None and not Path(name).exists():
            raise ConfigError(f"{name} does not exist; check the path.")
        if name is not None and n_slides > 1 and not _has_file_a_slide(Path(name)):
            raise ConfigError(
                f"{name} is for one slide, and there are {n_slides}; name one slide, or give a "
                "folder with a GeoJSON file for each."
            )


def _has_file_a_slide(path: Path) -> bool:
    return path.is_dir() and not (path / "mask.npy").is_file()


def _wishes(options: PrepareOptions, slide: SlideFolder) -> preparing.Wishes:
    def brought(name: str | None) -> Path | None:
        # Absolute, for a worker on another machine stands in another folder.
        path = None if name is None else Path(name).absolute()
        if path is None or not _has_file_a_slide(path):
            return path
        return preparing.slide_file(path, slide)

    return preparing.Wishes(
        tissue=brought(options.tissue),
        roi=brought(options.roi),
        is_whole=options.whole_slide,
        is_fresh=options.fresh_tissue,
    )


def _not_moved(slides: Sequence[SlideFolder], options: PrepareOptions) -> list[Failure]:
    """Name the slides whose patches do not follow the project's new settings of them."""
    if options.tissue or options.roi or options.whole_slide or options.fresh_tissue:
        return []
    return [
        Failure(
            slide_id=slide.slide_id,
            message=f"Slide {slide.slide_id!r}: its patches were imported, and new settings of the "
            "grid do not move them; to lay patches by these settings, find the tissue again.",
        )
        for slide in slides
        if preparing.imported_grid(slide) is not None
    ]


def _known_project(options: PrepareOptions) -> Project | None:
    folder = Path(options.project)
    return Project.open(folder) if (folder / "project.json").is_file() else None


def _config_of(known: Project | None) -> ProjectConfig:
    return ProjectConfig() if known is None else known.config


def _project_for(options: PrepareOptions, known: Project | None) -> Project:
    for name in options.trust_remote_code:
        encoder, _, commit = name.partition("@")
        agree(encoder_card(encoder), commit or None)
    before = _config_of(known)
    preset = None if options.preset is None else PRESETS[options.preset]
    keys = ("encoders", "teachers", "max_patches")
    chosen = {key: getattr(options, key) or getattr(preset, key, None) for key in keys}
    config = before.replace(**{key: value for key, value in chosen.items() if value})
    config = with_settings(config, options.set)
    _check_encoders(config, known=before.encoders)  # before any work is done
    for name in config.encoders:
        if name not in before.encoders and not (known and is_embedded(known, name)):
            _check_is_run(name)
    if known is None:
        return Project.create(Path(options.project), config)
    return known.reconfigured(config)


def _check_is_run(name: str) -> None:
    """Raise for an encoder that can only be imported, and was not."""
    problem = import_problem(name)
    if problem is not None:
        raise ConfigError(problem)


def _check_encoders(config: ProjectConfig, *, known: Sequence[str]) -> None:
    """Raise if an encoder is unknown or named twice, or a teacher reads what nobody makes.

    The `known` ones are the project's: of an imported encoder there may be the name alone.
    """
    names = (*config.encoders, *config.teachers)
    if len(set(names)) < len(names):
        raise ConfigError(f"An encoder is named twice in {', '.join(names)}.")
    for name in config.encoders:
        if name not in known:
            encoder_card(name)
    for name in config.teachers:
        card = encoder_card(name)
        if card.kind != "slide":
            raise ConfigError(f"Teacher {name} is a patch encoder; name one that reads slides.")
        reads = card.patch_encoder
        if reads is not None and reads not in config.encoders and not card.own_lattice:
            raise ConfigError(f"Teacher {name} reads embeddings by {reads}; add that encoder.")


PREPARE = Verb(
    "prepare",
    "find tissue and patches, and embed them by every encoder",
    PrepareOptions,
    _prepare,
    as_lines,
    positional=("project", "slides"),
    notes=settings_help(ProjectConfig, "tissue", "grid", "quality"),
)
