"""The manifest is valid, is found from every kind of installation, and names what exists."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from npe2 import PluginManifest

NAME = "napari-fusecpath"

# Run where the plugin is to be found: what npe2 sees, and where everything comes from.
PROBE = """
import importlib.metadata, importlib.util, json, site, sys
site.addsitedir(sys.argv[1])
sys.path.insert(0, sys.path.pop(sys.path.index(sys.argv[1])))
from npe2 import PluginManifest
def origin(name):
    return importlib.util.find_spec(name).origin
folders = importlib.util.find_spec("napari_fusecpath_manifest").submodule_search_locations
manifest = PluginManifest.from_distribution("napari-fusecpath")
print(json.dumps({
    "name": manifest.display_name,
    "commands": [command.python_name for command in manifest.contributions.commands],
    "metadata": str(importlib.metadata.distribution("napari-fusecpath")._path),
    "manifest": list(folders)[0],
    "src_core": origin("src_core"),
    "napari_fusecpath": origin("napari_fusecpath"),
}))
"""


@pytest.fixture(scope="module")
def manifest(project_root: Path) -> PluginManifest:
    return PluginManifest.from_file(project_root / "napari.yaml")


def probe(site: Path) -> dict[str, Any]:
    """Ask a fresh Python, standing elsewhere, what is installed in `site`."""
    answer = subprocess.run(
        [sys.executable, "-P", "-c", PROBE, str(site)],
        cwd=site,
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


def test_it_names_this_package(manifest: PluginManifest) -> None:
    assert manifest.name == NAME
    assert manifest.display_name == "FuseCPath"
    manifest.validate_imports()


def test_every_command_is_there_and_none_is_left_out(manifest: PluginManifest) -> None:
    offered = manifest.contributions
    used = {
        getattr(contribution, "command", None)
        for kind in (offered.readers, offered.widgets, offered.sample_data)
        for contribution in kind or ()
    }
    assert {command.id for command in offered.commands or ()} == used
    for command in offered.commands or ():
        module, name = str(command.python_name).split(":")
        assert callable(getattr(importlib.import_module(module), name))
        assert len(name) > 1  # npe2 refuses a shorter one when it is called


SUFFIXES = ["svs", "ndpi", "mrxs", "scn", "bif", "vms", "vmu", "svslide", "tif", "tiff", "dcm"]


@pytest.mark.parametrize("suffix", [*SUFFIXES, "SVS", "Tif"])
def test_every_kind_of_slide_reaches_the_reader(manifest: PluginManifest, suffix: str) -> None:
    from npe2 import PluginManager

    manager = PluginManager()
    manager.register(manifest)
    (reader,) = manager.iter_compatible_readers([f"/slides/a.b.{suffix}"])
    assert reader.command == f"{NAME}.read_slide"


def test_folders_reach_both_readers_and_other_files_none(
    manifest: PluginManifest, tmp_path: Path
) -> None:
    from npe2 import PluginManager

    manager = PluginManager()
    manager.register(manifest)
    commands = {reader.command for reader in manager.iter_compatible_readers([str(tmp_path)])}
    assert commands == {f"{NAME}.read_slide", f"{NAME}.read_results"}
    (reader,) = manager.iter_compatible_readers([str(tmp_path / "project.json")])
    assert reader.command == f"{NAME}.read_results"
    assert not list(manager.iter_compatible_readers(["cat.png"]))


def test_the_installed_copy_is_the_file_of_the_tree(project_root: Path) -> None:
    spec = find_spec("napari_fusecpath_manifest")
    assert spec is not None, "the package is not installed; run: make venv"
    copy = Path(next(iter(spec.submodule_search_locations or ()))) / "napari.yaml"
    assert copy.read_bytes() == (project_root / "napari.yaml").read_bytes(), (
        "napari.yaml has changed since it was installed; run: make venv"
    )


def test_it_is_found_from_an_editable_install(project_root: Path, tmp_path: Path) -> None:
    build = "import sys, hatchling.build as b; b.build_editable(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=project_root, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    found = probe(site)
    assert found["name"] == "FuseCPath"
    assert Path(found["metadata"]).parent == site
    assert Path(found["manifest"]) == site / "napari_fusecpath_manifest"
    assert Path(found["src_core"]) == project_root / "src_core" / "__init__.py"
    assert Path(found["napari_fusecpath"]) == project_root / "napari_fusecpath" / "__init__.py"


def test_it_is_found_from_a_wheel(project_root: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    for command in (
        ["build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(project_root)],
        ["pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)],
    ):
        wheel = [str(path) for path in tmp_path.glob("*.whl")]
        subprocess.run(
            [sys.executable, "-m", *command, *wheel], check=True, stdout=subprocess.DEVNULL
        )
    found = probe(site)
    assert found["name"] == "FuseCPath"
    for what in ("metadata", "manifest", "src_core", "napari_fusecpath"):
        assert site in Path(found[what]).parents, what
    for command in found["commands"]:
        module = command.split(":")[0].replace(".", "/")
        assert (site / f"{module}.py").is_file(), module
    assert (site / "src_core" / "py.typed").is_file()
    assert (site / "napari_fusecpath" / "py.typed").is_file()
    shipped = {path.name for path in site.iterdir() if not path.name.endswith(".dist-info")}
    assert shipped - {"bin"} == {"src_core", "napari_fusecpath", "napari_fusecpath_manifest"}
