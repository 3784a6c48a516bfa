"""The verbs ``import`` and ``export``: between a project and other programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from src_core import pipeline, runs
from src_core.config import Config, Help
from src_core.embeddings.interchange.qupath import outlines_name
from src_core.embeddings.interchange.stamp_table import read_stamp_table
from src_core.errors import ConfigError, FusecpathError, ProjectError
from src_core.exchange.cohort_files import import_cohort
from src_core.exchange.embedded import Written
from src_core.exchange.exports import export_anndata, export_csv, export_geojson, export_tissue
from src_core.exchange.imports import (
    Imported,
    files_in,
    import_file,
    imported_encoders,
    slide_called,
    use_imported,
)
from src_core.exchange.measured import export_measurements
from src_core.exchange.patch_table import patch_table
from src_core.exchange.to_trident import export_trident
from src_core.models.checkpoint_meta import checkpoint_meta
from src_core.patient_outcomes import PatientOutcome, stored_outcomes
from src_core.progress import Report, Stop
from src_core.project import Project, SlideFolder
from src_core.review.annotations import mark_annotations
from src_core.types import Json
from src_core.verbs.base import (
    ProjectPath,
    Result,
    RunName,
    SlideNames,
    Verb,
    as_lines,
    chosen_slides,
    result_of,
)

__all__ = ["EXPORT", "IMPORT"]

_NAMES_TOLD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions(Config):
    """Settings of ``import``."""

    project: ProjectPath
    files: Annotated[tuple[str, ...], Help("Files or folders of TRIDENT, CLAM, STAMP or QuPath")]
    slide: Annotated[str | None, Help("Slide that the file is of; by its name if none")] = None
    encoder: Annotated[str | None, Help("Encoder that made it; as the file says if none")] = None
    format: Annotated[
        Literal["auto", "trident", "clam", "stamp", "qupath", "annotations"],
        Help("Program that made it; annotations: QuPath's, whose classes become marks"),
    ] = "auto"
    reviewer: Annotated[str, Help("Whose annotations they are")] = ""


def _import(options: ImportOptions, report: Report, stop: Stop) -> Result:
    project = Project.open(options.project)
    form = options.format
    if form == "annotations":
        return _import_annotations(project, options, report, stop)
    found: list[Imported] = []
    files: list[Path] = []
    failures: list[pipeline.Failure] = []
    notes: list[str] = []

    def list_files(path: Path) -> None:
        files.extend(files_in(path))

    def take(path: Path) -> None:
        tool = None if form == "auto" else form
        vectors = read_stamp_table(path) if tool in (None, "stamp") else ()
        if vectors:
            cohort = import_cohort(
                project, vectors, slide_id=options.slide, encoder=options.encoder, stop=stop
            )
            found.extend(cohort.imported)
            failures.extend(cohort.failures)
            notes.extend(cohort.notes)
            return
        found.append(
            import_file(
                project,
                path,
                slide_id=options.slide,
                encoder=options.encoder,
                tool=tool,
                report=report,
                stop=stop,
            )
        )

    paths = [Path(name) for name in options.files]
    failures += pipeline.each(paths, list_files, name=lambda path: path.name, stop=stop)
    failures += pipeline.each(files, take, name=lambda path: path.name, stop=stop)
    if found:
        project, more = use_imported(project, imported_encoders(found))
        notes += more
    rows = [asdict(one) for one in found]
    names = list(project.config.encoders)
    return result_of(project, failures, imported=rows, encoders=names, notes=notes)


def _import_annotations(
    project: Project, options: ImportOptions, report: Report, stop: Stop
) -> Result:
    """Take what QuPath's annotations say of patches as marks of a reviewer."""
    if not options.reviewer.strip():
        raise ConfigError("ImportOptions.reviewer is empty; say whose annotations they are.")
    told: list[dict[str, Json]] = []
    table = project.labels().rows if project.labels_path.is_file() else ()
    classes = {label for row in table for label in row.labels.values() if label}

    def take(path: Path) -> None:
        names = (outlines_name(path),)
        slide = (
            slide_called(project, path, names)
            if options.slide is None
            else project.slide(options.slide)
        )
        made = mark_annotations(
            slide.marks,
            slide.load_grid(),
            path,
            reviewer=options.reviewer,
            labels=[*classes, *(mark.label for mark in slide.marks.current())],
            report=report,
            stop=stop,
        )
        told.append({"slide_id": slide.slide_id, **asdict(made)})

    paths = [Path(name) for name in options.files]
    failures = pipeline.each(paths, take, name=lambda path: path.name, stop=stop)
    return result_of(project, failures, marked=told)


def _describe(result: Result) -> str:
    lines = [
        f"{row['slide_id']}: {', '.join(f'{n} {name}' for name, n in row['counts'].items()) or 0}"
        f" patches marked ({row['otherwise']} were called otherwise, {row['others']} are so by "
        f"others), {row['known']} were so before"
        for row in result.get("marked", ())
    ]
    result = {key: value for key, value in result.items() if key != "marked"}
    for row in result.get("imported", ()):
        what = f"{row['n_patches']} patches" if row["n_patches"] else "the slide"
        by = f" by {row['encoder']}" if row["encoder"] else ""
        notes = f" ({'; '.join(row['notes'])})" if row["notes"] else ""
        lines.append(f"{row['slide_id']}: {what}{by}, from {row['tool']}{notes}")
    rest = {key: value for key, value in result.items() if key != "imported"}
    return "\n".join([*lines, _describe_export(rest)])


def _describe_export(result: Result) -> str:
    rest = {key: value for key, value in result.items() if key != "notes"}
    return "\n".join([*result.get("notes", ()), as_lines(rest)])


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions(Config):
    """Settings of ``export``."""

    project: ProjectPath
    slides: SlideNames = ()
    run: RunName = None
    format: Annotated[
        Literal["figure", "trident", "anndata", "csv", "geojson", "tissue", "measurements"],
        Help("What is written: pictures, embeddings, tables, QuPath's tiles or annotations"),
    ] = "figure"
    out: Annotated[str | None, Help("Folder for the files; exports/ in the project if none")] = None


def _export(options: ExportOptions, report: Report, stop: Stop) -> Result:
    project = Project.open(options.project)
    run_id = options.run
    if run_id is not None and not project.run(run_id).is_dir():
        known = ", ".join(project.runs()) or "none"
        raise ProjectError(f"{project.root} has no run {run_id!r}; it has {known}.")
    if run_id is None and (options.format == "figure" or project.runs()):
        run_id = project.latest_run()
    out = Path(options.out) if options.out else project.root / "exports"
    chosen = chosen_slides(project, options.slides)
    files: dict[str, list[str]] = {}
    noted: dict[str, list[str]] = {}
    patients: dict[str, PatientOutcome] = {}
    notes: list[str] = []
    if options.format == "csv" and run_id is not None:
        try:
            patients = _patients(project, run_id, chosen)
        except FusecpathError as error:
            notes.append(f"The tables lack what is said of patients: {error}")

    def export(slide: SlideFolder) -> None:
        patient = patients.get(slide.slide_id)
        written = _export_slide(project, slide, options.format, run_id, out, patient, report, stop)
        files[slide.slide_id] = [str(path) for path in written.files]
        for note in written.notes:
            noted.setdefault(note, []).append(slide.slide_id)

    failures = pipeline.each_slide(chosen, export, stop=stop)
    if options.format == "figure":
        figures = {slide_id: paths[0] for slide_id, paths in files.items()}
        return result_of(project, failures, figures=figures)
    notes += [f"{_some(slides)}: {note}." for note, slides in noted.items()]
    return result_of(project, failures, files=files, notes=notes)


def _patients(
    project: Project, run_id: str, slides: Iterable[SlideFolder]
) -> dict[str, PatientOutcome]:
    """Return by slide what is said of the patients of those that the run has predicted."""
    names = [one.slide_id for one in slides]
    predicted = [n for n in names if (project.prediction(run_id, n) / "prediction.json").is_file()]
    if not predicted:
        return {}
    meta = checkpoint_meta(project.run(run_id) / "checkpoint")
    outcomes = stored_outcomes(project, run_id, meta, predicted)
    of_slide = {name: one for one in outcomes for name in (*one.slides, *one.lacking)}
    return {name: of_slide[name] for name in predicted if name in of_slide}


def _some(names: list[str]) -> str:
    rest = len(names) - _NAMES_TOLD
    return ", ".join(names[:_NAMES_TOLD]) + (f" and {rest} more" if rest > 0 else "")


def _export_slide(
    project: Project,
    slide: SlideFolder,
    form: str,
    run_id: str | None,
    out: Path,
    patient: PatientOutcome | None,
    report: Report,
    stop: Stop,
) -> Written:
    """Write one slide's files and return them."""
    if form in ("trident", "measurements"):
        if form == "measurements":
            written = export_measurements(slide, out)
        else:
            written = export_trident(slide, out, report=report, stop=stop)
        return written
    if form == "figure":
        path = out / f"{slide.slide_id}-{run_id}.png"
        runs.draw(project, str(run_id), slide, path)
        return Written([path])
    if form == "tissue":  # named like the slide, as prepare --tissue FOLDER looks for it
        path = out / "tissue" / f"{slide.slide_id}.geojson.gz"
        export_tissue(slide, path)
        return Written([path])
    table = patch_table(project, slide, run_id=run_id)
    if form == "anndata":
        return export_anndata(slide, table, out, report=report, stop=stop)
    if form == "csv":
        path = out / f"{slide.slide_id}-patches.csv"
        export_csv(slide.slide_id, table, path, patient=patient, report=report, stop=stop)
        return Written([path])
    path = out / f"{slide.slide_id}.geojson.gz"
    export_geojson(table, path, report=report, stop=stop)
    return Written([path])


IMPORT = Verb(
    "import",
    "take embeddings of TRIDENT, CLAM or STAMP, or patches, QuPath's too, into a project",
    ImportOptions,
    _import,
    _describe,
    positional=("project", "files"),
)
EXPORT = Verb(
    "export",
    "save figures, embeddings, tables or outlines of slides for other programs",
    ExportOptions,
    _export,
    _describe_export,
)
