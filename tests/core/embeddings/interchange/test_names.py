"""The names that other programs have for encoders, and how long their embeddings are."""

from __future__ import annotations

import pytest

from src_core.embeddings.interchange.names import check_dim, known_name, trident_name
from src_core.encoders import encoder_card, list_encoders
from src_core.errors import ExchangeError


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("texture", "texture"), ("UNI_v2", "uni2-h"), ("uni2-0a1b2c3d", "uni2-h"), ("odd", "odd")],
)
def test_names_of_encoders(theirs: str, ours: str) -> None:
    assert known_name(theirs) == ours


# As TRIDENT's patch_encoder_models/load.py, CLAM's models/builder.py and STAMP's extractors do.
TRIDENT = {
    "conch_v1": "conch",
    "conch_v15": "conch_v15",
    "uni_v1": "uni",
    "uni_v2": "uni2-h",
    "ctranspath": "chief-ctranspath",
    "phikon": "phikon",
    "phikon_v2": "phikon-v2",
    "resnet50": "resnet50-truncated",
    "keep": "keep",
    "gigapath": "gigapath",
    "virchow": "virchow",
    "virchow2": "virchow2",
    "hoptimus0": "h-optimus-0",
    "hoptimus1": "h-optimus-1",
    "h0-mini": "h0-mini",
    "musk": "musk",
    "openmidnight": "openmidnight",
    "gpfm": "gpfm",
    "hibou_l": "hibou-l",
    "kaiko-vitb8": "kaiko-vitb8",
    "kaiko-vitl14": "kaiko-vitl14",
    "lunit-vits8": "lunit-vits8",
    "midnight12k": "midnight12k",
    "genbio-pathfm": "genbio-pathfm",
    "titan": "titan",
    "threads": "threads",
    "abmil": "abmil",
    "mean-conch_v15": "mean-conch_v15",
    "mean-uni_v1": "mean-uni",
    "mean-ctranspath": "mean-chief-ctranspath",
}
CLAM = {
    "resnet50_trunc": "resnet50-truncated",
    "uni_v1": "uni",
    "conch_v1": "conch",
    "conch_v1_5": "conch_v15",
}
STAMP = {
    "ctranspath": "ctranspath",
    "xiyuewang-ctranspath-7c998680": "ctranspath",
    "xiyuewang-ctranspath-7c998680-0a1b2c3d": "ctranspath",
    "chief_ctranspath": "chief-ctranspath",
    "chief-ctranspath": "chief-ctranspath",
    "mahmood-conch": "conch",
    "mahmood-conch1_5": "conch_v15",
    "conch1_5": "conch_v15",
    "mahmood-uni": "uni",
    "mahmood-uni2": "uni2-h",
    "gigapath": "gigapath",
    "h_optimus_0": "h-optimus-0",
    "h-optimus-1": "h-optimus-1",
    "virchow_full": "virchow",
    "virchow2": "virchow2",
    "musk": "musk",
    "keep": "keep",
    "mahmood-titan": "titan",
    "eagle": "eagle",
}
UNKNOWN = {
    "trident": ("digepath", "gigapath-flash", "virchow2-cls", "phaet", "mascaret", "gemma4-26b"),
    "stamp": ("dino-bloom", "mstar", "plip", "ticon", "kronos2", "cobra"),
}


@pytest.mark.parametrize(
    ("tool", "names"), [("trident", TRIDENT), ("clam", CLAM), ("stamp", STAMP)]
)
def test_the_names_that_each_program_writes_are_known(tool: str, names: dict[str, str]) -> None:
    assert {name: known_name(name, tool=tool) for name in names} == names
    assert all(encoder_card(ours) for ours in names.values())


def test_every_encoder_comes_back_from_the_name_that_trident_has_for_it() -> None:
    for ours in list_encoders():
        again = known_name(trident_name(ours), tool="trident")
        assert ours in (again, f"{again}-slide")
    theirs = {trident_name(ours): ours for ours in TRIDENT.values()}
    assert theirs == TRIDENT


@pytest.mark.parametrize(("tool", "names"), UNKNOWN.items())
def test_what_has_no_card_here_keeps_its_name(tool: str, names: tuple[str, ...]) -> None:
    """Another network or output than those here: to take one for the other would be wrong."""
    assert [known_name(name, tool=tool) for name in names] == list(names)


def test_lengths_that_cannot_be_the_encoders() -> None:
    check_dim("texture", 91, where="a.h5")
    check_dim("never-heard-of", 17, where="a.h5")
    check_dim("abmil", 17, where="a.h5")
    with pytest.raises(ExchangeError, match="its card says 1280"):
        check_dim("eagle", 2560, where="a.h5")
    with pytest.raises(ExchangeError, match="its card says 91"):
        check_dim("texture", 92, where="a.h5")
    with pytest.raises(ExchangeError, match="class token alone"):
        check_dim("virchow2", 1280, where="a.h5")
