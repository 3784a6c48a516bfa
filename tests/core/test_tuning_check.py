"""Whether a fine-tuning has forgotten so much that somebody has to decide."""

from __future__ import annotations

import pytest

from src_core.tuning_check import needs_decision


@pytest.mark.parametrize(
    ("check", "waits"),
    [
        ({"drop": 0.03}, True),
        ({"drop": 0.02}, False),
        ({"drop": -0.5}, False),
        ({"drop": 0}, False),
        ({"drop": None}, True),
        ({"drop": True}, True),
        ({}, True),
        ("damaged", True),
    ],
)
def test_what_has_forgotten_much_or_nobody_knows_how_much_waits(check: object, waits: bool) -> None:
    assert needs_decision(check, 0.02) is waits
