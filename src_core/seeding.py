"""One seed in, the same bytes out: named, independent streams of random numbers.

No stage draws from a global generator. Each derives its own from the run's seed and from what
it works on, so adding a slide does not change the bags of another.
"""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["derive_seed", "generator"]


def derive_seed(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed for the stream that `names` describe.

    The same on every machine and in every Python process (unlike ``hash``).
    """
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return NumPy's generator for the stream that `names` describe."""
    return np.random.default_rng(derive_seed(seed, *names))
