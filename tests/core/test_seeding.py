"""One seed, the same bytes, on every machine; another name, another stream."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from src_core.seeding import derive_seed, generator


def test_seeds_are_fixed_for_good() -> None:
    # A change of these numbers changes every bag that was ever drawn.
    assert derive_seed(2025) == 6438309643815367108
    assert derive_seed(2025, "bags", "slide-1", 3) == 1488373418586365978


def test_another_process_with_another_hash_seed_agrees() -> None:
    code = "from src_core.seeding import derive_seed; print(derive_seed(2025, 'bags', 'a', 1))"
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert answers == {f"{derive_seed(2025, 'bags', 'a', 1)}\n"}


@given(st.integers(), st.lists(st.text() | st.integers(), max_size=4))
def test_a_seed_fits_every_generator(seed: int, names: list[str | int]) -> None:
    derived = derive_seed(seed, *names)
    assert 0 <= derived < 2**63  # torch takes a signed 64-bit number
    assert derived == derive_seed(seed, *names)


def test_neighbouring_streams_differ() -> None:
    seeds = {
        derive_seed(seed, slide, epoch)
        for seed in range(5)
        for slide in ("slide-1", "slide-2", "slide-11")
        for epoch in range(5)
    }
    assert len(seeds) == 5 * 3 * 5
    assert derive_seed(1, "ab", "c") != derive_seed(1, "a", "bc")


def test_a_generator_repeats_and_leaves_the_global_one_alone() -> None:
    before = np.random.get_state()[1].copy()  # type: ignore[index, union-attr] # noqa: NPY002
    one = generator(7, "bags").integers(0, 1000, 20)
    two = generator(7, "bags").integers(0, 1000, 20)
    other = generator(7, "splits").integers(0, 1000, 20)
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
    assert np.array_equal(before, np.random.get_state()[1])  # type: ignore[index] # noqa: NPY002
