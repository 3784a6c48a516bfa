from __future__ import annotations

import pytest

from src_core.cli import main
from src_core.errors import ConfigError
from src_core.project import ProjectConfig
from src_core.verbs.settings import settings_help, with_settings

CONFIG = ProjectConfig()


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("tissue.threshold=0.1", ("tissue", "threshold"), 0.1),
        ("tissue.threshold=none", ("tissue", "threshold"), None),
        ("grid.patch_px = 224", ("grid", "patch_px"), 224),
        ("quality.exclude=blur, pen", ("quality", "exclude"), ("blur", "pen")),
        ("quality.exclude=", ("quality", "exclude"), ()),
        ("training.topk_within=none", ("training", "topk_within"), None),
        ("training.topk_within=auto", ("training", "topk_within"), "auto"),
        ("training.topk_across=16", ("training", "topk_across"), 16),
    ],
)
def test_a_setting_has_the_type_that_it_was_declared_with(
    setting: str, path: tuple[str, str], value: object
) -> None:
    stage, name = path
    assert getattr(getattr(with_settings(CONFIG, [setting]), stage), name) == value


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("slide.svs", "is not a setting"),
        ("tissue=3", "has settings of its own"),
        ("tissue.treshold=3", "'tissue.treshold'; 'treshold' is none of mpp, threshold"),
        ("tissu.threshold=3", "no setting 'tissu.threshold'"),
        ("encoders.first=3", "'encoders' has none of its own"),
        ("grid.patch_px=many", "give a whole number"),
        ("grid.patch_px=3.5", "give a whole number"),
        ("grid.patch_px=3", "from 16 to 2048"),
        ("tissue.threshold=nan", "finite"),
        ("quality.exclude=ugly", "choose from blur"),
    ],
)
def test_what_is_wrong_is_said(setting: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        with_settings(CONFIG, [setting])


def test_every_setting_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["prepare", "--help"])
    shown = capsys.readouterr().out
    assert settings_help(ProjectConfig, "tissue", "grid", "quality") in shown
    for stage in ("tissue", "grid", "quality"):
        for spec in getattr(CONFIG, stage).fields():
            assert f"{stage}.{spec.name}\n" in shown
