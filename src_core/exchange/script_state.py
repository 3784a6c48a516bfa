"""What a repeated project would hold so far, while the steps that make it are laid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from src_core.bags.label_table import LabelRow
from src_core.exchange.script_records import (
    Run,
    changed_settings,
    device_of,
    has_no_patches,
    runs_in_order,
    table_of,
)
from src_core.exchange.script_text import Beside, Call, Copy, Inside, Step, Word, given
from src_core.exchange.script_then import Kind, Then
from src_core.project import Project, ProjectConfig, SlideFolder
from src_core.review.marks import MarkStore

__all__ = ["State", "Take", "on", "some"]

Take = Call | Copy

_LONGEST = 4000
"""Characters of slides' names in one command; Windows takes 8191 in all."""

_DECIDE = ("encoders", "teachers", "max_patches", "tissue", "grid", "quality")
"""Settings of a project that decide patches or embeddings."""


@dataclass(slots=True)
class State:
    """The steps so far, and what they have come to.

    Parameters
    ----------
    project : Project
        The one that is to be made again.
    folder : Path
        Where the files that the steps read are to lie.
    """

    project: Project
    folder: Path
    runs: list[Run] = field(init=False)
    """In the order in which they were made."""
    steps: list[Step] = field(default_factory=list)
    files: dict[str, bytes | Path] = field(default_factory=dict)
    """By their path below the folder: their content, or the file that they are a copy of."""
    config: ProjectConfig = field(default_factory=ProjectConfig)
    table: bytes | None = None
    """The labels table."""
    held: dict[str, list[str]] = field(default_factory=dict)
    """Of each target the patients that are held back."""
    names: dict[str, str] = field(default_factory=dict)
    """What the runs are called in the repeated project."""
    slides: list[SlideFolder] = field(init=False)
    """Those with patches."""
    without: dict[str, str] = field(init=False)
    """The others, and what is wrong with them."""
    device: str | None = field(init=False)
    """Where everything was embedded, if in one place."""
    threads: int | None = field(init=False)
    """Of the CPU: those of all trainings, which the steps before them had too, as far as known."""
    _placed: dict[str, bytes] = field(default_factory=dict)
    _corrected: dict[str, int] = field(default_factory=dict)
    _clusters_of: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Look which slides can be worked on."""
        reasons = {slide.slide_id: has_no_patches(slide) for slide in self.project.slides()}
        self.without = {name: why for name, why in reasons.items() if why is not None}
        self.slides = [self.project.slide(name) for name, why in reasons.items() if why is None]
        self.runs = runs_in_order(self.project)
        self.device = device_of(self.slides, self.project.config.encoders, self.runs)
        threads = {run.threads for run in self.runs}
        self.threads = threads.pop() if len(threads) == 1 else None

    @property
    def ids(self) -> set[str]:
        """Names of the slides that can be worked on."""
        return {slide.slide_id for slide in self.slides}

    def beside(self, name: str, content: bytes | Path) -> Beside:
        """Keep a file beside the script."""
        self.files[name] = content
        return Beside(name)

    def slides_table(self, name: str, slides: Sequence[SlideFolder]) -> Beside:
        """Keep a table that names slides, their files and the scales that people gave them."""
        rows = [
            LabelRow(slide_id=one.slide_id, path=Path(), patient_id="", labels={}, line=0)
            for one in slides
        ]
        folder = (self.folder / name).parent
        return self.beside(name, table_of(self.project, rows, (), folder))

    def prepare(self, *words: Word, embed: bool = True) -> Call:
        """Return a call of ``prepare``."""
        if not embed:
            return Call(("prepare", Inside(), *words, "--no-embed"))
        return Call(("prepare", Inside(), *words, *on(self.device)), self.threads)

    def changes(self, config: ProjectConfig, *, besides: Iterable[str | None] = ()) -> list[Word]:
        """Return the words that lead from the settings so far to others, encoders `besides` out."""
        before, words, out = self.config, list[Word](), set(besides)
        encoders = [name for name in config.encoders if name not in out]
        if encoders and (tuple(encoders) != before.encoders or not self.steps):
            words += ["--encoders", *given(*encoders)]
        same: dict[str, list[str]] = {"encoders": list(config.encoders)}
        if config.teachers and config.teachers != before.teachers:
            words += ["--teachers", *given(*config.teachers)]
            same["teachers"] = list(config.teachers)
        settings = changed_settings(before.replace(**same), config)
        return [*words, *(["--set", *settings] if settings else [])]

    def turn_to(self, config: ProjectConfig) -> list[Take]:
        """Change the settings, and prepare anew if these decide patches or embeddings."""
        words, before = self.changes(config), self.config
        if not words:
            return []
        self.config = config
        is_anew = any(getattr(before, key) != getattr(config, key) for key in _DECIDE)
        if is_anew:
            self._clusters_of.clear()
        return [self.prepare(*words, embed=is_anew)]

    def cluster(self, names: Sequence[str]) -> list[Take]:
        """Cluster slides by the settings so far, unless that was the last thing done to them."""
        by = (self.config.clustering, self.config.encoders)
        left = [name for name in names if self._clusters_of.get(name) != by]
        self._clusters_of.update(dict.fromkeys(left, by))
        return self.over(left, "cluster", *on(self.device))

    def over(self, names: Sequence[str], verb: str, *words: Word) -> list[Take]:
        """Return a verb over slides, in several commands where their names are too long."""
        if len(names) == len(self.slides):
            return [Call((verb, Inside(), *words), self.threads)]
        calls, part = list[Take](), list[str]()
        for name in given(*names):
            if sum(len(one) + 3 for one in (*part, name)) > _LONGEST:
                calls.append(Call((verb, Inside(), "--slides", *part, *words), self.threads))
                part = []
            part.append(name)
        last = Call((verb, Inside(), "--slides", *part, *words), self.threads)
        return [*calls, last] if part else []

    def marks(self, then: Then, place: str) -> list[Take]:
        """Put in force what reviewers had marked, excluded and pinned by then."""
        acts = list[Take]()
        for slide in self.slides:
            stores: dict[Kind, MarkStore] = {
                "marks": slide.marks,
                "selection": slide.selection.marks,
            }
            for name, store in stores.items():
                content = then.lines(slide.slide_id, name, store)
                target = f"slides/{slide.slide_id}/review/{name}.jsonl"
                if content and content != self._placed.get(target):
                    self._placed[target] = content
                    file = self.beside(f"{slide.slide_id}/{place}/{name}.jsonl", content)
                    acts.append(Copy(file, Inside(target)))
        return acts

    def whole_table(self) -> list[Take]:
        """Take in the labels table, if the project has one and no step has done so."""
        if self.table is not None or not self.project.labels_path.is_file():
            return []
        table = self.project.labels()
        rows = [row for row in table.rows if row.slide_id in self.ids]
        if not rows:
            return []
        self.table = table_of(self.project, rows, table.targets, self.folder)
        return [self.prepare("--labels", self.beside("labels.csv", self.table), embed=False)]

    def corrections(self, then: Then) -> list[Take]:
        """Correct labels as people had by then; what was said before is not said again."""
        calls = list[Take]()
        for slide in self.slides:
            every, known = slide.corrections.history(), self._corrected.get(slide.slide_id, 0)
            times = [one.time for one in every]
            past = every[: then.n_acts(slide.slide_id, "labels", times)]
            for one in past[known:]:
                words = [f"--reviewer={one.reviewer}", f"--target={one.target}"]
                words += [] if one.label is None else [f"--label={one.label}"]
                words += [f"--comment={' '.join(one.comment.split())}"] * bool(one.comment)
                calls.append(Call(("relabel", Inside(), *given(slide.slide_id), *words)))
            self._corrected[slide.slide_id] = max(known, len(past))
        return calls


def on(device: str | None) -> tuple[str, ...]:
    """Return the words that name a device."""
    return ("--device", device) if device else ()


def some(slides: Sequence[SlideFolder]) -> str:
    """Return the names of slides, the first three and how many more."""
    names = [slide.slide_id for slide in slides]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
