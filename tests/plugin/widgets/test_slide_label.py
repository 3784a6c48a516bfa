"""What a patient is called: in force, corrected as one, and hidden from the blind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import Qt

from napari_fusecpath.widgets.dock import FuseCPathWidget
from src_core.labelling import correct_labels
from src_core.models.checkpoint_meta import META_NAME, CheckpointMeta, EmbeddingSource
from src_core.models.config import StudentConfig
from src_core.preparing import find_tissue
from src_core.progress import ignore, never
from src_core.project import Project, ProjectConfig
from src_core.provenance import write_json

Open = Callable[..., FuseCPathWidget]


@pytest.fixture
def project(tmp_path: Path, sample: Path) -> Project:
    """Slides a and b of one patient, and what a model of patients says of itself."""
    config = ProjectConfig.from_dict({"encoders": ["texture"], "grid": {"patch_px": 128}})
    project = Project.create(tmp_path / "project", config)
    find_tissue(project, project.add_slide(sample, slide_id="a"), report=ignore, stop=never)
    table = tmp_path / "labels.csv"
    lines = ("a,a.tiff,P,normal", "b,b.tiff,P,", "c,c.tiff,Q,tumour", "d,d.tiff,R,vessel")
    table.write_text("\n".join(["slide_id,path,patient_id,label", *lines]), encoding="utf-8")
    project.import_labels(table)
    meta = CheckpointMeta(
        student=StudentConfig(input_dim=8, n_outputs=2),
        encoders=(EmbeddingSource(name="texture", dim=8, licence="MIT"),),
        target_name="label",
        classes=("normal", "tumour"),
        per="patient",
    )
    write_json(project.run("run-0001") / "checkpoint" / META_NAME, meta.to_dict())
    return project


def test_a_patient_is_what_all_of_the_slides_say(window: Open, project: Project) -> None:
    stores = [project.slide(name).corrections for name in "ab"]
    write_json(stores[1].path, {})
    dock = window(project.root)
    review: Any = dock.panels["review"]
    dock.go("review")
    assert "labels.json is damaged" in review.warning.text(), "on the first look too"
    assert review.slide_label.isHidden()
    stores[1].path.unlink()
    dock.session.refresh()
    box = review.slide_label.box
    assert (review.slide_label.title.text(), box.currentIndex()) == ("Patient is", 0)
    assert box.currentText() == "normal (by the labels table)"

    stores[1].correct("label", "vessel", reviewer="Bob")
    dock.session.refresh()
    assert box.currentIndex() == -1, "the table says normal of the other slide"
    box.setItemData(0, "not filled again", Qt.ItemDataRole.UserRole + 1)
    dock.session.refresh()
    assert box.itemData(0, Qt.ItemDataRole.UserRole + 1), "nothing has changed"
    assert "differ" in box.toolTip()
    review.reviewer.setText("Ada")
    for wanted in ("tumour", "tumour", None):
        box.setCurrentIndex(box.findData(wanted))
        box.activated.emit(box.currentIndex())
        said = {} if wanted is None else {"label": wanted}
        assert [store.current() for store in stores] == [said, said]
        dock.session.refresh()
        assert box.currentData() == wanted
    assert len(stores[0].history()) == 2, "what is in force already is not said again"

    correct_labels(project, "label", ["a", "b"], "vessel", by="Bob", comment="seen again")
    dock.session.refresh()
    assert box.currentText() == "vessel", "which the model does not know"
    assert "Corrected by Bob. seen again" in box.toolTip()
    review.blind.click()
    assert review.slide_label.isHidden()
    dock.go("train")
    dock.session.refresh()
    assert not review.slide_label.isHidden(), "in the other steps nobody is blind"
    dock.go("review")
    review.on_enter()
    assert review.slide_label.isHidden()
    review.blind.click()
    assert not review.slide_label.isHidden()
