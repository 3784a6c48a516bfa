"""What a read pass shows of each encoder's pace, and what is remembered of it from run to run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from src_core.embeddings.known_pace import forecast, known_paces, remember_paces
from src_core.embeddings.pace import Clock


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of paces of the test's own; it is not there yet."""
    path = tmp_path / "cache" / "pace.json"
    monkeypatch.setenv("FUSECPATH_PACE", str(path))
    return path


def test_the_pace_of_each_encoder_includes_its_share_of_the_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("src_core.embeddings.pace.time.monotonic", lambda: now[0])
    batch = (np.arange(16), np.zeros((16, 2, 2, 3), np.uint8))

    def read() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for _ in range(40):
            now[0] += 0.16  # 0.01 s a patch
            yield batch

    clock = Clock()
    for call, _ in enumerate(clock.waiting_for(read())):
        slow = 8.0 if call == 0 else 0.32  # the first call loads; then 0.02 s a patch
        clock.spent("slow", 16, slow)
        clock.spent("few", 16 if 1 < call < 3 else 0, 0.001)
        clock.count(16, slow)
    each = clock.seconds_each()
    assert list(each) == ["slow"], "16 patches show no pace"
    assert each["slow"] == pytest.approx(0.03)

    clock = Clock()
    for _ in clock.waiting_for(read()):
        clock.spent("slow", 16, 0.32)
        clock.spent("fast", 16, 0.016)
        clock.count(16, 0.336)
    each = clock.seconds_each()
    assert each == pytest.approx({"slow": 0.025, "fast": 0.006})


def test_times_are_told_by_the_last_runs_on_the_device_that_was_used_last(kept: Path) -> None:
    nothing = forecast({"lite0": 100}, patch_px=256)
    assert (nothing.seconds, nothing.known, nothing.unknown) == (0.0, (), ("lite0",))
    devices = {"lite0": "cpu", "texture": "cpu"}
    for seconds in (9.0, 9.0, 0.5, 0.1, 0.2, 0.3, 0.4):
        remember_paces({"lite0": seconds}, devices=devices, patch_px=256)
    remember_paces({"texture": 0.01}, devices=devices, patch_px=256)
    told = forecast({"lite0": 100, "texture": 50, "uni": 100}, patch_px=256)
    assert told.seconds == pytest.approx(100 * 0.3 + 50 * 0.01), "the median of the last five"
    assert (told.known, told.unknown) == (("lite0", "texture"), ("uni",))
    assert forecast({"lite0": 100}, patch_px=512).unknown == ("lite0",)
    remember_paces({"lite0": 0.001}, devices={"lite0": "cuda"}, patch_px=256)
    assert forecast({"lite0": 100}, patch_px=256).seconds == pytest.approx(0.1)
    remember_paces({"lite0": 0.3}, devices=devices, patch_px=256)
    assert forecast({"lite0": 100}, patch_px=256).seconds == pytest.approx(30)
    entries = json.loads(kept.read_text())["paces"]
    assert {key for one in entries for key in one} == {
        "encoder", "device", "patch_px", "seconds_each",
    }  # fmt: skip


_GOOD: dict[str, object] = {
    "encoder": "lite0",
    "device": "cpu",
    "patch_px": 256,
    "seconds_each": [0.1],
}


def test_encoders_of_any_library_are_remembered_by_their_names(kept: Path) -> None:
    names = ("timm:test_vit@random", "hf-hub:owner/name-v2.1")
    for name in names:
        remember_paces({name: 0.1}, devices={name: "cpu"}, patch_px=256)
    assert forecast(dict.fromkeys(names, 10), patch_px=256).known == names


def test_the_file_stays_small(kept: Path) -> None:
    kept.parent.mkdir()
    many = [{**_GOOD, "encoder": f"e{number}"} for number in range(210)]
    kept.write_text(json.dumps({"version": 1, "paces": many}))
    remember_paces({"e10": 0.1}, devices={"e10": "cpu"}, patch_px=256)
    names = [one.encoder for one in known_paces()]
    assert names == [*(f"e{number}" for number in range(11, 210)), "e10"]
    remember_paces({"new": 0.1}, devices={"new": "cpu"}, patch_px=256)
    assert [one.encoder for one in known_paces()] == [*names[1:], "new"]


_WRONG: list[dict[str, object]] = [
    {"encoder": 3},
    {"encoder": "../a b"},
    {"device": None},
    {"patch_px": 0},
    {"patch_px": 2.5},
    {"patch_px": True},
    {"seconds_each": 0.1},
    {"seconds_each": []},
    {"seconds_each": [0.1] * 6},
    {"seconds_each": [0.1, 0]},
    {"seconds_each": [1e9]},
    {"seconds_each": ["0.1"]},
]


@pytest.mark.parametrize(
    "content",
    [
        "no JSON",
        "[]",
        json.dumps({"version": 1}),
        json.dumps({"version": 2, "paces": [_GOOD]}),
        json.dumps({"version": 1, "paces": [_GOOD], "pad": "x" * 2**18}),
        *(json.dumps({"version": 1, "paces": [{**_GOOD, **wrong}, 3]}) for wrong in _WRONG),
    ],
)
def test_a_damaged_file_counts_as_empty_and_is_written_anew(kept: Path, content: str) -> None:
    kept.parent.mkdir()
    kept.write_text(content)
    assert known_paces() == []
    remember_paces({"lite0": 0.1}, devices={"lite0": "cpu"}, patch_px=256)
    assert json.loads(kept.read_text()) == {"version": 1, "paces": [_GOOD]}


def test_a_folder_that_cannot_be_written_to_costs_nothing(kept: Path) -> None:
    kept.parent.write_text("in the way")
    remember_paces({"lite0": 0.1}, devices={"lite0": "cpu"}, patch_px=256)
    assert known_paces() == []
