"""A project is made again by its script: the same clusters, the same weights, byte for byte."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src_core.bags.label_table import LabelRow
from src_core.cli import main
from src_core.clustering.result import load_clusters
from src_core.errors import FusecpathError, ProjectError
from src_core.exchange import script_models
from src_core.exchange.script_records import table_of
from src_core.exchange.script_state import State
from src_core.exchange.script_steps import lay_steps
from src_core.exchange.script_text import as_sh
from src_core.exchange.script_then import Then
from src_core.project import Project, SlideFolder
from src_core.provenance import file_sha256, read_json, write_json
from src_core.review.marks import MarkStore
from src_core.review.measurements import Measurement, Size
from src_core.tissue.mask import TissueMask
from src_core.training.config import TrainConfig
from tests.core.cohort_files import write_cohort
from tests.core.exchange.helpers import verb

COLUMN = "the label's 50 %"
SHIM = """
import json, os, socket, sys
with socket.create_connection(("127.0.0.1", int(os.environ["ENGINE_PORT"]))) as line:
    line.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
    sys.exit(int(line.makefile().readline()))
"""


def run_script(script: Path, folder: Path, tools: Path) -> list[list[str]]:
    """Run a script with ``sh`` in `folder`; this process does what it asks ``fusecpath`` to do.

    The shell, its quoting and its copying are real, and no command pays for loading torch again.
    """
    tools.mkdir()
    (tools / "shim.py").write_text(SHIM)
    (tools / "fusecpath").write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -S "{tools / "shim.py"}" "$@"\n'
    )
    (tools / "fusecpath").chmod(0o755)
    calls: list[list[str]] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        paths = os.pathsep.join((str(tools), os.environ["PATH"]))
        port = str(server.getsockname()[1])
        shell = subprocess.Popen(
            ["sh", str(script)], cwd=folder, env={**os.environ, "PATH": paths, "ENGINE_PORT": port}
        )
        server.settimeout(0.2)
        while shell.poll() is None:
            try:
                line, _ = server.accept()
            except TimeoutError:
                continue
            with line, line.makefile() as stream:
                calls.append(json.loads(stream.readline()))
                line.sendall(f"{main(calls[-1])}\n".encode())
    assert shell.returncode == 0
    return calls


def weights(root: Path) -> list[str]:
    found = sorted(root.glob("runs/*/checkpoint/model.safetensors"))
    return [file_sha256(path) for path in found]


def predictions(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.glob("predictions/*/*")}


def sizes(slide: SlideFolder) -> list[tuple[str, Size]]:
    """Return the name and the size of what was measured on a slide."""
    return [(one.id, one.size(slide.record.mpp)) for one in slide.measurements.current()]


def clusters(project: Project) -> dict[str, list[int]]:
    found = {}
    for slide in project.slides():
        if slide.record.clusters_id is not None:
            found[slide.slide_id] = load_clusters(slide.current_clusters())[0].tolist()
    return found


@pytest.fixture(scope="module")
def worked_on(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a painted slide, two trainings, exclusions, marks and a fine-tuning."""
    folder = tmp_path_factory.mktemp("a cohort's 50%")
    table = write_cohort(folder, (0.0, 0.4) * 3, side_px=640, **{COLUMN: "ab" * 3})
    table.write_text(re.sub(r"^s(\d),", r"it's \1 5%,", table.read_text(), flags=re.MULTILINE))
    root = str(folder / "my project")
    settings = ["grid.patch_px=128", "clustering.n_per_cluster=2"]
    verb("prepare", project=root, labels=str(table), encoders=["texture"], set=settings)
    project = Project.open(root)
    training = TrainConfig.preset("bench").replace(epochs=2).to_dict()
    project = project.reconfigured(project.config.replace(training=training))
    painted = project.slide("it's 1 5%")
    mask = painted.load_tissue()
    pixels = mask.mask.copy()
    pixels[: len(pixels) // 3] = False
    edited: TissueMask = mask.edited(pixels)
    edited.save(painted.root / "painted")
    paths = [str(folder / "s1.tiff")]
    verb("prepare", project=root, slides=paths, tissue=str(painted.root / "painted"), device="cpu")
    shutil.rmtree(painted.root / "painted")
    verb("cluster", project=root, n_clusters=3, device="cpu")
    verb("cluster", project=root, joint=True, device="cpu")
    verb("train", project=root, target=[COLUMN], device="cpu")
    learned = read_json(project.run("run-0001") / "config.json")["trained_on"]
    first = project.slide(learned[0])
    first.selection.exclude(first.load_grid(), np.arange(2), reviewer="Ada")
    verb("relabel", project=root, slide=learned[1], reviewer="Ada's", target=COLUMN,
         label="ba"["ab".index(project.labels().rows[int(learned[1][5])].labels[COLUMN])],
         comment="why,\nin two lines")  # fmt: skip
    verb("cluster", project=root, n_clusters=2, device="cpu")
    verb("train", project=root, target=[COLUMN], device="cpu")
    for folder in (first.current_clusters(), first.joint_clusters()):
        first.legend(folder).edit(lambda legend: legend.renamed(0, "stroma").merged([0, 1]))
    first.measurements.change([Measurement(kind="line", points=np.array([[0, 0], [90, 120.0]]))])
    grid = first.load_grid()
    corners = grid.coords_xy[3:6]
    side = grid.lattice.patch_l0
    for label, (x, y) in zip("aab", corners.tolist(), strict=True):
        first.marks.add([(x, y, side, side)], label=label, reviewer="Ada")
    verb("finetune", project=root, epochs=1, tolerance=1.0, device="cpu")
    x, y = grid.coords_xy[6].tolist()
    first.marks.add([(x, y, side, side)], label="b", reviewer="Ada")
    assert verb("train", project=root, from_run="run-0003")["identical"]
    verb("predict", project=root, slides=[learned[2]], device="cpu")
    return Project.open(root)


@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no POSIX shell here")
def test_a_script_makes_the_same_clusters_and_the_same_weights(
    worked_on: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = verb("script", project=str(worked_on.root))
    script = Path(result["script"])
    assert script == worked_on.root / "exports" / "repeat.sh"
    text = script.read_text(encoding="utf-8")
    assert "differ" not in text
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    calls = run_script(script, empty, tmp_path / "tools")
    assert len(calls) == result["commands"]
    assert [path.name for path in empty.iterdir()] == ["my_project-again"]
    again = Project.open(empty / "my_project-again")
    assert again.runs() == worked_on.runs() == ("run-0001", "run-0002", "run-0003", "run-0004")
    assert len(set(weights(worked_on.root))) == 3, "the last repeats the one before"
    assert weights(again.root) == weights(worked_on.root)
    assert len(clusters(worked_on)) == 6
    assert clusters(again) == clusters(worked_on)
    assert again.config == worked_on.config
    for slide in worked_on.slides():
        other = again.slide(slide.slide_id)
        assert other.record.grid_id == slide.record.grid_id
        assert other.record.tissue_id == slide.record.tissue_id
        assert other.record.joint_id == slide.record.joint_id is not None
        for folder in (slide.current_clusters(), slide.joint_clusters()):
            legend = slide.legend(folder).current()
            assert other.legend(again.root / folder.relative_to(worked_on.root)).current() == legend
        assert other.marks.current() == slide.marks.current()
        assert other.corrections.current() == slide.corrections.current()
        assert sizes(other) == sizes(slide)
    assert sum(len(sizes(slide)) for slide in again.slides()) == 1
    predicted = {
        path.relative_to(worked_on.root) for path in worked_on.root.glob("predictions/*/*")
    }
    assert predicted <= {
        path.relative_to(again.root) for path in again.root.glob("predictions/*/*")
    }
    assert "hf_" not in text


def test_each_step_says_when_and_by_which_version_it_was_made(
    worked_on: Project, tmp_path: Path
) -> None:
    result = verb("script", project=str(worked_on.root), out=str(tmp_path / "it all.SH"))
    assert Path(result["for_windows"]) == tmp_path / "it all.cmd"
    assert Path(result["script"]) == tmp_path / "it all.SH", "the very file that was named"
    text = (tmp_path / "it all.SH").read_text(encoding="utf-8")
    asked = read_json(worked_on.run("run-0001") / "config.json")
    version = asked["versions"]["napari-fusecpath"]
    heads = [line for line in text.splitlines() if line.startswith(("# Train", "# Fine", "# Prep"))]
    assert [head.split(";")[0] for head in heads] == [
        "# Prepare 6 slides", "# Train run-0001", "# Train run-0002", "# Fine-tune run-0003",
        "# Train run-0004",
    ]  # fmt: skip
    assert all("made 20" in head and " UTC" in head for head in heads)
    assert all(f"by version {version}" in head for head in heads[1:])
    assert "OMP_NUM_THREADS=" in text
    assert "Tissue or region of interest of it's 1 5% is by hand: a copy is read." in text
    table = (tmp_path / "it all-files" / "slides.csv").read_text(encoding="utf-8")
    assert str(worked_on.root.parent / "s2.tiff") in table, "it lies outside of the project"


def test_a_run_of_other_slides_than_todays_says_so(worked_on: Project, tmp_path: Path) -> None:
    root = shutil.copytree(worked_on.root, tmp_path / "copy")
    path = root / "runs" / "run-0001" / "config.json"
    asked = read_json(path)
    name = asked["trained_on"][0]
    asked["slides"][name]["clusters"] = "0" * 16
    before = path.stat()
    write_json(path, asked)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    shutil.rmtree(root / "runs" / "run-0002")
    result = verb("script", project=str(root))
    text = Path(result["script"]).read_text(encoding="utf-8")
    assert f"Slide {name} is not what it learned from (its patches, their clusters" in text
    assert "run-0003 is not repeated: run-0002, from which it comes, is not there." in text
    (root / "slides" / name / "review" / "selection.jsonl").write_text("no line of JSON\n")
    with pytest.raises(ProjectError, match=r"selection\.jsonl"):
        verb("script", project=str(root))


STRANGE = (5, ["--out", {}], {"--out": [1]})
ASKED = ("parent", "repeats", "columns", "project", "trained_on", "marks", "feedback", "versions")


def commands(project: Project, folder: Path) -> list[str]:
    """Return the commands of a project's script, which is not written."""
    lay_steps(state := State(project, folder), stop=lambda: False)
    text = as_sh(state.steps, about=(), project="p", files="f")
    return [line for line in text.splitlines() if "fusecpath" in line and not line.startswith("#")]


def test_records_of_a_strangers_runs_are_refused_in_one_sentence_or_passed_over(
    worked_on: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Project.open(shutil.copytree(worked_on.root, tmp_path / "copy"))
    monkeypatch.setattr(script_models, "changed_since", lambda *_: [])  # its own test is above
    path = opened.run("run-0003") / "config.json"
    kept, n_refused = read_json(path), 0
    for key in ASKED:
        for strange in STRANGE:
            path.write_text(json.dumps({**kept, key: strange}))
            try:
                assert not any("--out" in line for line in commands(opened, tmp_path))
            except FusecpathError:
                n_refused += 1
    assert 0 < n_refused < len(ASKED) * len(STRANGE) / 2
    for ring in ("run-0003", "run-0004"):  # which repeats this one
        path.write_text(json.dumps({**kept, "repeats": ring}))
        assert not any("finetune" in line for line in commands(opened, tmp_path))


def test_acts_with_odd_white_space_are_read_by_then(tmp_path: Path) -> None:
    store = MarkStore(tmp_path / "marks.jsonl")
    store.add([(0, 0, 1, 1)], label="a", reviewer="Ada")
    line = store.path.read_bytes()
    odd = line.replace(b'", "', b'",\r"', 1).replace(b'"id": "', b'"id":\x0d"b')
    store.path.write_bytes(odd + b"\r\n" + line + b'{"torn')
    assert Then("9").lines("s", "marks", MarkStore(store.path)) == odd + line


def test_slides_in_a_project_are_named_from_the_script_if_that_is_in_it_too(
    slide_file: Path, tmp_path: Path
) -> None:
    project = Project.create(tmp_path / "project")
    inside = project.root / "inside" / "a.tiff"
    inside.parent.mkdir()
    shutil.copy(slide_file, inside)
    project.add_slide(inside, slide_mpp=0.25)
    row = LabelRow(slide_id="a", path=inside, patient_id="", labels={"x": "1"}, line=0)
    head = "slide_id,path,patient_id,mpp,x\r\n"
    table = table_of(project, [row], ["x"], project.root / "exports" / "repeat-files")
    assert table.decode() == f"{head}a,../../inside/a.tiff,,0.25,1\r\n"
    table = table_of(project, [row], ["x"], tmp_path)
    assert table.decode() == f"{head}a,{inside.as_posix()},,0.25,1\r\n"


def test_imported_embeddings_are_named_and_asked_for(
    target: Project, features: Path, tmp_path: Path
) -> None:
    verb("import", project=str(target.root), files=[str(features)])
    result = verb("script", project=str(target.root), out=str(tmp_path / "s"))
    text = Path(result["script"]).read_text(encoding="utf-8")
    assert f"were imported from a-slide.h5 of SHA-256 {file_sha256(features)}" in text
    lines = [line for line in text.splitlines() if line.startswith("fusecpath")]
    assert [line.split()[1] for line in lines] == ["prepare", "import", "prepare"]
    assert '"$files"/imported/a-slide/a-slide.h5 --slide a-slide --encoder texture' in lines[1]
    (told,) = target.root.rglob("imported.json")
    write_json(told, {"file": '../../../x" & calc & ".h5', "sha256": "0 of\nit", "from": "x"})
    result = verb("script", project=str(target.root), out=str(tmp_path / "s"))
    for script in (result["script"], result["for_windows"]):
        text = Path(script).read_text(encoding="utf-8")
        assert "calc" not in text
        assert ".." not in text
        assert "were imported from a file that is not on record" in text
        assert "imported/a-slide/a-slide.h5 in its folder of files" in text, "known by its ending"
