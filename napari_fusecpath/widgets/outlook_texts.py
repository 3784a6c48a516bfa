"""What is said of work before it starts: about how much it is, and about how long it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from src_core.embeddings.known_pace import Forecast
from src_core.wording import counted

__all__ = ["about", "embedding_words", "listed", "takes_words"]


def about(count: int) -> str:
    """Return an estimated number of patches, to two digits: ``about 1,200 patches``."""
    digits = max(0, len(str(count)) - 2)
    patches = counted(round(count, -digits), "patch", "patches")
    return "no patch" if count == 0 else f"about {patches}"


def takes_words(seconds: float) -> str:
    """Return how long work takes: ``less than a minute``, ``about 12 min``, ``about 3.5 h``."""
    minutes = math.ceil(seconds / 60)
    if seconds < 60:
        return "less than a minute"
    return f"about {minutes} min" if minutes < 90 else f"about {seconds / 3600:.2g} h"


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence has them: ``lite0, texture and uni``."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def embedding_words(told: Forecast) -> str:
    """Return how long embedding takes, and what is not known: ``about 2 min by lite0``."""
    parts = [f"{takes_words(told.seconds)} by {listed(told.known)}"] if told.known else []
    if told.unknown:
        parts.append(f"time by {listed(told.unknown)} not known on this machine yet")
    return "; ".join(parts)
