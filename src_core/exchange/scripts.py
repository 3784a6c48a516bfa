"""Write the script that makes a project again from its slides, and the files that it reads."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from src_core import RESEARCH_USE, __version__
from src_core.exchange.script_state import State
from src_core.exchange.script_steps import lay_steps
from src_core.exchange.script_text import Call, as_cmd, as_sh
from src_core.names import checked_name
from src_core.progress import Report, Stop, Tracker
from src_core.project import Project
from src_core.provenance import write_bytes

__all__ = ["write_script"]

_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


def write_script(
    project: Project, out: Path, *, report: Report, stop: Stop
) -> tuple[list[Path], int]:
    """Write a script that makes a project again, by commands, wherever it is run.

    What it says comes from the project's records alone, whoever made them: the window, the
    command or Python. It is written twice, for ``sh`` and for Windows, and reads copies of what no
    command makes (tables, marks, painted tissue) from the folder ``<name>-files`` beside it.

    Parameters
    ----------
    project : Project
    out : Path
        Its name; the endings are ``.sh`` and ``.cmd``.
    report, stop : callable
        See :mod:`src_core.progress`.

    Returns
    -------
    paths : list of Path
        The two scripts, then the files.
    n_commands : int

    Raises
    ------
    ProjectError
        If a record is damaged, or a file cannot be written.
    ExchangeError
        If a name has a line break, which no script can hold.
    """
    out = out.absolute()
    stem = out.stem if out.suffix.lower() in (".sh", ".cmd") else out.name
    folder = out.with_name(checked_name(f"{stem}-files", what="folder beside the script"))
    state = State(project, folder)
    lay_steps(state, stop=stop)
    texts = _texts(project, state)
    tracker = Tracker(
        report, stop, stage="Writing the script", total=len(state.files) + 2, unit="files"
    )
    written = []
    for name, content in state.files.items():
        path = folder / name
        write_bytes(path, content if isinstance(content, bytes) else content.read_bytes())
        written.append(path)
        tracker.advance(1, detail=path.name)
    scripts = []
    for ending, text in texts.items():
        path = out if out.suffix.lower() == ending else out.with_name(f"{stem}{ending}")
        write_bytes(path, text.encode())
        path.chmod(path.stat().st_mode | 0o111)
        scripts.append(path)
        tracker.advance(1, detail=path.name)
    calls = sum(isinstance(act, Call) for step in state.steps for act in step.acts)
    return [*scripts, *written], calls


def _texts(project: Project, state: State) -> dict[str, str]:
    """Return the script by the ending of its file."""
    again = f"{_NOT_IN_NAME.sub('_', project.root.name).strip('.-') or 'project'}-again"
    now = datetime.now(UTC)
    about = (
        f"Makes the project {project.root.name} again, in the folder {again} where it is run.",
        f"Written {now:%Y-%m-%d %H:%M} UTC by napari-fusecpath {__version__}, from its records.",
        "Dates are those of its files. Files that no command makes lie beside this script.",
        RESEARCH_USE,
    )
    files = state.folder.name
    return {
        ".sh": as_sh(state.steps, about=about, project=again, files=files),
        ".cmd": as_cmd(state.steps, about=about, project=again, files=files),
    }
