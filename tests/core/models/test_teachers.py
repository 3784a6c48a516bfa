"""Teachers' projections."""

from __future__ import annotations

import pytest
import torch

from src_core.models.teachers import TeacherProjections


def test_each_teacher_has_a_map_of_its_own_in_the_given_order() -> None:
    module = TeacherProjections({"timm:b.x": 5, "a": 7}, 16)
    embeddings = {"a": torch.randn(3, 7), "timm:b.x": torch.randn(3, 5)}
    projected = module(embeddings)
    assert projected.shape == (3, 2, 16)
    first, second = module.projections
    torch.testing.assert_close(projected[:, 0], first(embeddings["timm:b.x"]))
    torch.testing.assert_close(projected[:, 1], second(embeddings["a"]))


def test_absent_teacher_is_named() -> None:
    module = TeacherProjections({"a": 7}, 16)
    with pytest.raises(KeyError, match="a"):
        module({})
