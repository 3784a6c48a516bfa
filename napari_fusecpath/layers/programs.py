"""Keeps the programs that vispy draws by, where their code stays the same."""

from __future__ import annotations

from typing import Any

from vispy.gloo import Program
from vispy.visuals.shaders.program import ModularProgram

__all__ = ["keep_programs"]

_CODE = "_fusecpath_code"


def keep_programs() -> None:
    """Let vispy link a program anew only where its code is another one; asked again, nothing.

    It does so whenever one function of a shader is put in the place of another, of an equal one,
    too: for each new colour of labels, for other lines, three times for a layer that is hidden.
    The driver then compiles at the next drawing, in the window's thread. It holds for all that
    this process draws by vispy; a vispy with `set_shaders` of its own there is left as it is.
    """
    if "set_shaders" not in vars(ModularProgram):
        ModularProgram.set_shaders = _set_shaders


def _set_shaders(
    program: ModularProgram,
    vert: str,
    frag: str,
    geom: str | None = None,
    update_variables: bool = True,
) -> None:
    """Set the code of a program, as ``vispy.gloo.Program.set_shaders`` does."""
    code: Any = (vert, frag, geom)
    if update_variables or vars(program).get(_CODE) != code:
        Program.set_shaders(program, vert, frag, geom, update_variables)
        setattr(program, _CODE, code)
