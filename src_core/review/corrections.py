"""What reviewers say of whole slides: that a label of the table is wrong.

The table itself stays as it was given; a correction lies with the slide, with the name of who made
it, and holds wherever the project's labels are read to learn from.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from src_core.errors import ProjectError
from src_core.locking import locked
from src_core.provenance import read_json, write_json
from src_core.review.acts import MAX_TEXT
from src_core.review.extent import Extent

__all__ = ["Correction", "CorrectionStore"]

_MOST = 10_000
_KEYS = ("target", "label", "reviewer", "time", "comment")


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """One thing that was said of a slide's label."""

    target: str
    """Column of the labels table."""
    label: str | None
    """What the slide is; ``""`` for no label, None for what the table says."""
    reviewer: str
    time: str
    """UTC, ISO 8601."""
    comment: str = ""


class CorrectionStore:
    """The corrections of one slide's labels, all of them, the latest in force.

    Parameters
    ----------
    path : Path
        The file, usually ``review/labels.json`` of a slide; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def correct(
        self, target: str, label: str | None, *, reviewer: str, comment: str = ""
    ) -> Correction:
        """Store what a label should be; on disk when this returns.

        Parameters
        ----------
        target : str
            Column of the labels table.
        label : str or None
            ``""`` takes the label away, None brings back what the table says.
        reviewer, comment : str
            Who says so, and why.

        Raises
        ------
        ValueError
            If a text is too long, or nobody says so.
        ProjectError
            If the file is damaged or full.
        """
        if not reviewer.strip() or not target.strip():
            raise ValueError("a correction needs a target and a reviewer")
        if max(map(len, (target, label or "", reviewer, comment))) > MAX_TEXT:
            raise ValueError(f"a text of a correction has more than {MAX_TEXT} characters")
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        made = Correction(target=target, label=label, reviewer=reviewer, time=time, comment=comment)
        with locked(self.path.parent):
            acts = [*self._acts(), _to_dict(made)]
            if len(acts) > _MOST:
                raise ProjectError(f"{self.path} is full; no more corrections can be added.")
            write_json(self.path, {"corrections": acts})
        return made

    def current(self, *, until: str | None = None, acts: int | None = None) -> dict[str, str]:
        """Return the labels in force that differ from what the table may say, by target.

        Parameters
        ----------
        until : str, optional
            UTC, ISO 8601 with milliseconds: of what was said by then, by the clocks of who said it.
        acts : int, optional
            What was in force after so many corrections; by default what is now.

        Raises
        ------
        ProjectError
            If the file is damaged.
        """
        found: dict[str, str] = {}
        for act in self.history()[:acts]:
            if until is not None and act.time > until:
                continue
            found.pop(act.target, None)
            if act.label is not None:
                found[act.target] = act.label
        return found

    def extent(self, *, acts: int | None = None) -> Extent | None:
        """Return what stands for the first corrections; see `MarkStore.extent`."""
        stored = self._acts()
        count = len(stored) if acts is None else acts
        if not 0 < count <= len(stored):
            return None
        text = json.dumps(stored[:count], sort_keys=True, separators=(",", ":"))
        return Extent(count, hashlib.sha256(text.encode()).hexdigest())

    def history(self) -> tuple[Correction, ...]:
        """Return everything that was ever said, the oldest first.

        Raises
        ------
        ProjectError
            If the file is damaged.
        """
        return tuple(
            Correction(**{key: act[key] for key in _KEYS if key in act}) for act in self._acts()
        )

    def _acts(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        acts = read_json(self.path).get("corrections")
        if not isinstance(acts, list) or not all(map(_is_act, acts)):
            raise ProjectError(f"{self.path} is damaged; restore or remove it.")
        return acts


def _to_dict(one: Correction) -> dict[str, Any]:
    values: dict[str, Any] = {
        "target": one.target,
        "label": one.label,
        "reviewer": one.reviewer,
        "time": one.time,
    }
    return values | ({"comment": one.comment} if one.comment else {})


def _is_act(act: object) -> bool:
    if not isinstance(act, dict):
        return False
    texts = [*(act.get(key) for key in ("target", "reviewer", "time")), act.get("comment", "")]
    label = act.get("label")
    return all(isinstance(text, str) for text in texts) and isinstance(label, str | None)
