"""Files of other programs, and of people who mean no good."""

from __future__ import annotations

import pickle
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from src_core.embeddings.interchange.files import read_file
from src_core.embeddings.interchange.names import check_dim, known_name, trident_name
from src_core.embeddings.interchange.records import PatchFile, SlideVector
from src_core.encoders import encoder_card, list_encoders
from src_core.errors import ExchangeError

COORDS = np.argwhere(np.ones((3, 4))) * 512
FEATURES = np.arange(12 * 5, dtype=np.float32).reshape(12, 5)


def write(path: Path, about: Any = None, **arrays: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
        for owner, values in (about or {}).items():
            (file if owner == "/" else file[owner]).attrs.update(values)
    return path


def numbers(found: PatchFile) -> Any:
    assert found.embeddings is not None
    return np.concatenate(list(found.embeddings()))


@pytest.mark.parametrize("kind", [np.int64, np.float64])
@pytest.mark.parametrize("lead", [False, True])
def test_trident(tmp_path: Path, kind: Any, lead: bool) -> None:
    about = {
        "patch_size": 256,
        "patch_size_level0": kind(512),
        "level0_magnification": 40,
        "target_magnification": kind(20),
        "overlap": 64,
        "level0_width": 9000,
        "level0_height": 7000,
        "name": "slide-7",
        "savetodir": "None",
    }
    arrays = {"coords": COORDS, "features": FEATURES[None] if lead else FEATURES}
    path = write(
        tmp_path / "features_uni_v2" / "a.h5",
        {"coords": about, "features": {"encoder": "None"}},
        **arrays,
    )
    found = read_file(path)
    assert isinstance(found, PatchFile)
    assert (found.tool, found.slide, found.encoder) == ("trident", "slide-7", "uni_v2")
    assert (found.patch_px, found.patch_l0, found.overlap_l0) == (256, 512.0, 128)
    assert (found.level0_mpp, found.level0_size) == (0.25, (9000, 7000))
    np.testing.assert_array_equal(found.coords, COORDS)
    np.testing.assert_array_equal(numbers(found), FEATURES)


def test_clam(tmp_path: Path) -> None:
    about = {"patch_size": 256, "patch_level": 1, "downsample": (4.0, 4.0), "name": "a"}
    write(tmp_path / "patches" / "a.h5", {"coords": about}, coords=COORDS)
    whole = write(tmp_path / "h5_files" / "a.h5", coords=COORDS, features=FEATURES)
    (tmp_path / "pt_files").mkdir()
    torch.save(torch.tensor(FEATURES), tmp_path / "pt_files" / "a.pt")
    for path in (whole, tmp_path / "pt_files" / "a.pt"):
        found = read_file(path)
        assert isinstance(found, PatchFile)
        assert (found.tool, found.slide, found.encoder) == ("clam", "a", None)
        assert (found.patch_px, found.downsample) == (256, 4.0)
        np.testing.assert_array_equal(numbers(found), FEATURES)
    alone = read_file(tmp_path / "patches" / "a.h5")
    assert isinstance(alone, PatchFile)
    assert alone.embeddings is None


def test_stamp(tmp_path: Path) -> None:
    um = (COORDS / 512 * 256.0).astype(np.float32)
    half = FEATURES.astype(np.float16)
    about = {"extractor": "uni2", "unit": "um", "tile_size_um": 256.0, "tile_size_px": 224}
    path = write(tmp_path / "uni2-0a1b2c3d" / "a.h5", {"/": about}, coords=um, feats=half)
    found = read_file(path)
    assert isinstance(found, PatchFile)
    assert (found.tool, found.unit, found.encoder) == ("stamp", "um", "uni2")
    assert (found.patch_px, found.patch_um, found.stored_as) == (224, 256.0, "float16")
    np.testing.assert_array_equal(numbers(found), half)
    old = write(tmp_path / "old" / "a.h5", {"/": {"tile_size": 256, "unit": "um"}},
                coords=um, feats=half)  # fmt: skip
    historic = write(tmp_path / "older" / "a.h5", coords=COORDS / 512 * 224, feats=half)
    for path in (old, historic):
        found = read_file(path)
        assert isinstance(found, PatchFile)
        assert found.patch_um == 256.0
        np.testing.assert_allclose(found.coords, um)
    pixels = write(tmp_path / "oldest" / "a.h5", {"/": {"tile_size": 224}},
                   coords=COORDS / 512 * 224, feats=half)  # fmt: skip
    found = read_file(pixels)
    assert isinstance(found, PatchFile)
    assert found.patch_um == 256.0, "px of 256 µm tiles, for the file does not say µm"
    np.testing.assert_allclose(found.coords, um)
    vector = write(
        tmp_path / "s" / "a.h5", {"/": {"feat_type": "slide", "encoder": "titan"}}, feats=half[:1]
    )
    whole = read_file(vector)
    assert isinstance(whole, SlideVector)
    assert (whole.encoder, whole.vector.shape) == ("titan", (5,))


class _Runs:
    def __reduce__(self) -> Any:
        return (Path("/nowhere").touch, ())


def linked(file: h5py.File, kind: str, folder: Path) -> None:
    """Features that are elsewhere."""
    other = write(folder / "other.h5", coords=COORDS, features=FEATURES)
    if kind == "external link":
        file["features"] = h5py.ExternalLink(str(other), "features")
    elif kind == "soft link":
        file["hidden"] = FEATURES
        file["features"] = h5py.SoftLink("/hidden")
    elif kind == "external storage":
        (folder / "secret").write_bytes(b"\0" * 240)
        raw = [(str(folder / "secret"), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("features", (12, 5), "f4", external=raw)
    else:
        layout = h5py.VirtualLayout((12, 5), "f4")
        layout[:] = h5py.VirtualSource(str(other), "features", (12, 5))
        file.create_virtual_dataset("features", layout)


def large(file: h5py.File, kind: str, folder: Path) -> None:
    """Features that would fill the memory."""
    if kind == "bomb":
        zeros = np.zeros((12_000, 1024), "f4")
        file.create_dataset("features", data=zeros, compression="gzip", chunks=(1000, 1024))
        return
    rows = 10**6 if kind == "empty promise" else 10**10
    chunks = (100_000, 1024) if kind == "huge chunks" else (64, 1024)
    rows = 50 if kind == "huge chunks" else rows
    file.create_dataset("features", (rows, 1024), "f4", chunks=chunks, maxshape=(None, 1024))


WRONG: dict[str, dict[str, Any]] = {
    "texts": {"coords": COORDS, "features": np.array([b"a"] * 12, dtype=object)},
    "too few corners": {"coords": COORDS[:-1], "features": FEATURES},
    "no corners": {"features": FEATURES},
    "five columns": {"coords": np.zeros((12, 5)), "features": FEATURES},
    "nan corners": {"coords": np.where(COORDS == 512, np.nan, COORDS), "features": FEATURES},
    "no patches": {"coords": COORDS[:0], "features": FEATURES[:0]},
    "whole numbers": {"coords": COORDS, "features": FEATURES.astype(int)},
}
LINKED = ("external link", "soft link", "external storage", "virtual")
LARGE = ("empty promise", "terabytes", "huge chunks", "bomb")


def hostile(kind: str, folder: Path) -> Path:
    path = folder / "h5_files" / "a.h5"
    if kind in WRONG:
        return write(path, **WRONG[kind])
    if kind in (*LINKED, *LARGE, "group"):
        write(path, coords=COORDS)
        with h5py.File(path, "r+") as file:
            if kind == "group":
                file.create_group("features")
            else:
                (linked if kind in LINKED else large)(file, kind, folder)
        return path
    if kind == "cut off":
        write(path, coords=COORDS, features=FEATURES)
        path.write_bytes(path.read_bytes()[:-200])
        return path
    if kind in ("text", "picture"):
        path = folder / ("a.h5" if kind == "text" else "a.png")
        path.write_bytes(b"text")
        return path
    path = folder / "pt_files" / "a.pt"
    path.parent.mkdir()
    torch.save({"features": torch.zeros(12, 5)}, path)
    if kind == "wide tensor":
        torch.save(torch.zeros(1).expand(12, 60_000), path)
    if kind == "pickle":
        path.write_bytes(pickle.dumps(_Runs()))
    if kind != "lonely tensor":
        write(folder / "h5_files" / "a.h5", coords=COORDS, features=FEATURES)
    return path


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("external link", "link to somewhere else"),
        ("soft link", "link to somewhere else"),
        ("external storage", "in other files"),
        ("virtual", "in other files"),
        ("empty promise", "stores hardly any"),
        ("terabytes", "claims 38147 GB"),
        ("huge chunks", "in chunks of 391 MB"),
        ("bomb", "stores hardly any"),
        ("texts", "no plain table"),
        ("group", "no array"),
        ("too few corners", "12 embeddings and 11 corners"),
        ("no corners", "no coords"),
        ("five columns", "not .patches, 2."),
        ("nan corners", "no finite numbers"),
        ("no patches", "holds no patches"),
        ("whole numbers", "not numbers of"),
        ("cut off", "cannot be read"),
        ("text", "cannot be read as HDF5"),
        ("picture", "none of .h5"),
        ("pickle", "no tensor alone"),
        ("dictionary", "no tensor of numbers"),
        ("lonely tensor", "no corners of patches"),
        ("wide tensor", "claims more numbers than it holds"),
    ],
)
def test_a_strangers_file_is_refused_in_a_sentence(
    tmp_path: Path, kind: str, sentence: str
) -> None:
    with pytest.raises(ExchangeError, match=sentence):
        read_file(hostile(kind, tmp_path))


@pytest.mark.parametrize(
    "about",
    [
        {"patch_size": 1e-300, "patch_size_level0": 1e300, "overlap": 5},
        {"patch_size": 256, "patch_level": 0, "level_dim": ["a", "b"]},
        {"patch_size": 256, "patch_level": 0, "level_dim": [np.nan, 1.0]},
        {"patch_size": "256", "patch_level": "0", "name": 7, "wsi_name": [1, 2]},
    ],
)
def test_what_a_stranger_says_is_left_out_if_it_is_nonsense(tmp_path: Path, about: Any) -> None:
    said = {"coords": about, "features": {"encoder": 5}}
    found = read_file(write(tmp_path / "a.h5", said, coords=COORDS, features=FEATURES))
    assert isinstance(found, PatchFile)
    assert (found.slide, found.encoder, found.level0_size) == ("a", None, None)


def test_a_bare_tensor_comes_in_blocks(tmp_path: Path) -> None:
    write(tmp_path / "h5_files" / "a.h5", coords=np.tile(COORDS, (400, 1)))
    path = tmp_path / "pt_files" / "a.pt"
    path.parent.mkdir()
    tensor = torch.arange(4800 * 2, dtype=torch.bfloat16).reshape(1, 4800, 2)
    torch.save(torch.nn.Parameter(tensor), path)
    found = read_file(path)
    assert isinstance(found, PatchFile)
    assert found.stored_as == "float32"
    assert [len(block) for block in found.embeddings()] == [4096, 704]  # type: ignore[misc]
    np.testing.assert_array_equal(numbers(found), tensor[0].float().numpy())


def test_tridents_tensor_has_its_corners_in_patches(tmp_path: Path) -> None:
    about = {"patch_size": 256, "patch_size_level0": 512, "level0_magnification": 40, "name": "a"}
    write(tmp_path / "patches" / "a_patches.h5", {"coords": about}, coords=COORDS)
    path = tmp_path / "features_uni_v2" / "a.pt"
    path.parent.mkdir()
    torch.save(torch.tensor(FEATURES), path)
    found = read_file(path)
    assert isinstance(found, PatchFile)
    assert (found.tool, found.slide, found.encoder) == ("trident", "a", "uni_v2")
    np.testing.assert_array_equal(numbers(found), FEATURES)


def tridents(folder: Path, values: Any, *, old_numpy: bool = False) -> Path:
    """Write features as TRIDENT's ``extract_patch_features(saveas="pt")`` does."""
    about = {"patch_size": 256, "patch_size_level0": 512, "level0_magnification": 40, "name": "a"}
    if not (folder / "patches").exists():
        write(folder / "patches" / "a_patches.h5", {"coords": about}, coords=COORDS)
    path = folder / "features_uni_v2" / "a.pt"
    path.parent.mkdir(exist_ok=True)
    torch.save(values, path)
    if old_numpy:
        rewritten(path, lambda pickled: pickled.replace(b"numpy._core.", b"numpy.core."))
    return path


def rewritten(path: Path, change: Any) -> None:
    """Change what is pickled in a file of ``torch.save``."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, change(content) if name.endswith("/data.pkl") else content)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
@pytest.mark.parametrize("old_numpy", [False, True])
def test_trident_saves_an_array_of_numpy(tmp_path: Path, dtype: str, old_numpy: bool) -> None:
    batches = [FEATURES[:7].astype(dtype), FEATURES[7:].astype(dtype)]
    joined = np.concatenate(batches, axis=0)
    joined = joined.astype(dtype)  # concatenate turns the bytes around
    path = tridents(tmp_path, joined, old_numpy=old_numpy)
    assert (b"numpy.core." in path.read_bytes()) == old_numpy
    found = read_file(path)
    assert isinstance(found, PatchFile)
    assert (found.tool, found.slide, found.encoder) == ("trident", "a", "uni_v2")
    assert (found.dim, found.stored_as) == (5, "float16" if dtype == "f2" else "float32")
    np.testing.assert_array_equal(numbers(found), FEATURES)
    assert numbers(found).dtype == np.float32


def test_an_array_by_columns_keeps_its_rows(tmp_path: Path) -> None:
    found = read_file(tridents(tmp_path, np.asfortranarray(FEATURES)))
    assert isinstance(found, PatchFile)
    np.testing.assert_array_equal(numbers(found), FEATURES)


class _OfArrays:
    """Calls what only an array's pickle may name."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.called = call, arguments

    def __reduce__(self) -> Any:
        return self.called


def at_once(count: int) -> Any:
    return lambda pickled: pickled.replace(
        b"K\x0cK\x05\x86", b"M" + count.to_bytes(2, "little") + b"K\x05\x86"
    )


HOSTILE: dict[str, tuple[Any, Any]] = {
    "runs": (_Runs(), None),
    "memory": (_OfArrays(np.ndarray, (10**6, 10**6)), None),
    "state that runs": (np.array([[_Runs()]], dtype=object), None),
    "two arrays": ([FEATURES, FEATURES], None),
    "texts": (np.array([["a", "b"]]), None),
    "whole numbers": (FEATURES.astype(np.int64), None),
    "one axis": (FEATURES[0], None),
    "more rows than numbers": (FEATURES, at_once(60_000)),
    "fewer rows than numbers": (FEATURES, at_once(11)),
    "another call": (FEATURES, lambda one: one.replace(b"_codecs\nencode", b"posix\nsystem")),
    "another class": (FEATURES, lambda one: one.replace(b"numpy\nndarray", b"numpy\nmatrix_")),
    "cut off": (FEATURES, lambda one: one[:-40]),
    "text that is none": (FEATURES, lambda one: one.replace(b"\xc2\x80", b"\xff\xfe")),
    "endless": (FEATURES, lambda one: one[:-1] + b"q\x00" * 10**5 + b"."),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_pickle_that_is_not_one_array_is_refused_and_nothing_of_it_runs(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, change = HOSTILE[kind]
    ran: list[Any] = []
    path = tridents(tmp_path, values)
    if change is not None:
        before = path.read_bytes()
        rewritten(path, change)
        assert path.read_bytes() != before
    monkeypatch.setattr(Path, "touch", lambda *_: ran.append(1))
    with pytest.raises(ExchangeError, match=r"not one whole array|is no tensor") as caught:
        read_file(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(path))
    assert ran == []


def test_no_array_is_made_before_it_is_known_to_be_whole(tmp_path: Path) -> None:
    path = tridents(tmp_path, np.zeros((12, 200_000), np.float32)[:, :60_000].copy())
    rewritten(path, lambda one: one.replace(b"M`\xea", b"J\x00\x00\x00\x7f"))
    tracemalloc.start()
    try:
        with pytest.raises(ExchangeError, match="not one whole array"):
            read_file(path)
        assert tracemalloc.get_traced_memory()[1] < 6 * path.stat().st_size
    finally:
        tracemalloc.stop()


def test_a_slide_without_tissue_is_told_so(tmp_path: Path) -> None:
    path = tridents(tmp_path, np.empty((0, 5), np.float32))
    write(tmp_path / "patches" / "a_patches.h5", coords=COORDS[:0])
    with pytest.raises(ExchangeError, match="holds no patches"):
        read_file(path)


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
