"""What can be asked of the engine: one verb each, the same from the command and the window.

A verb is a name, its settings and a function. The command makes its options from the settings,
the window its form, and the worker its checks: what was clicked can be typed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from src_core.errors import ConfigError
from src_core.progress import Report, Stop
from src_core.verbs.agree import AGREE
from src_core.verbs.base import Result, Verb
from src_core.verbs.choosing import COMPARE
from src_core.verbs.exchange import EXPORT, IMPORT
from src_core.verbs.explain import EXPLAIN
from src_core.verbs.figure import FIGURE
from src_core.verbs.models import EVALUATE, PREDICT, TRAIN
from src_core.verbs.prepare import PREPARE
from src_core.verbs.relocate import RELOCATE
from src_core.verbs.review import DECIDE, FINETUNE, RELABEL, SUGGEST
from src_core.verbs.scatter import SCATTER
from src_core.verbs.script import SCRIPT
from src_core.verbs.setup import DOCTOR, ENCODERS
from src_core.verbs.similar import SIMILAR
from src_core.verbs.slides import CLUSTER, PYRAMID
from src_core.verbs.tools import DEMO, OPEN

__all__ = ["VERBS", "Verb", "run_verb"]

VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        DEMO,
        PREPARE,
        RELOCATE,
        CLUSTER,
        SCATTER,
        SIMILAR,
        COMPARE,
        TRAIN,
        EVALUATE,
        PREDICT,
        SUGGEST,
        FINETUNE,
        DECIDE,
        RELABEL,
        AGREE,
        EXPLAIN,
        EXPORT,
        IMPORT,
        SCRIPT,
        FIGURE,
        ENCODERS,
        DOCTOR,
        PYRAMID,
        OPEN,
    )
}


def run_verb(name: str, options: Mapping[str, Any], *, report: Report, stop: Stop) -> Result:
    """Run a verb with JSON options and return its JSON result.

    Raises
    ------
    ConfigError
        If there is no such verb, an option is unknown or one that it needs is missing.
    """
    if name not in VERBS:
        raise ConfigError(f"There is no verb {name!r}; choose one of {', '.join(VERBS)}.")
    verb = VERBS[name]
    for spec in verb.options.fields():
        if spec.required and spec.name not in options:
            raise ConfigError(f"{name} needs {spec.name}: {spec.help}.")
    return verb.run(verb.options.from_dict(options), report, stop)
