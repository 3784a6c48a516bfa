from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

from src_core.bags.dataset import standardised_rows
from src_core.bags.edits import SelectionEdits
from src_core.bags.selection import covering_bags
from src_core.errors import (
    CheckpointError,
    GridMismatchError,
    JobCancelled,
    StaleArtifactError,
    TooFewPatchesError,
)
from src_core.inference import predict_slide
from src_core.inference.what_if import explain_slide
from src_core.models.checkpoint import EmbeddingSource
from src_core.seeding import generator
from src_core.training import fit
from src_core.training.config import TrainConfig


@pytest.fixture(scope="module", params=["local branches", "student"])
def model(planted: Any, quick: TrainConfig, request: Any) -> Any:
    config = quick if request.param == "local branches" else quick.replace(n_branches=0)
    return request.param, fit(planted(24, seed=5), config).checkpoint


@pytest.fixture(scope="module")
def slide(planted: Any) -> Any:
    return planted(2, seed=77, n_patches=200).slides[1]


def predict(checkpoint: Any, slide: Any, **changes: Any):
    return predict_slide(
        checkpoint,
        slide.views,
        slide.labels,
        slide.cells,
        slide_id="s",
        device="cpu",
        **changes,
    )


def test_contributions_and_bias_add_up_to_the_logit(model: Any, slide: Any) -> None:
    source, checkpoint = model
    prediction = predict(checkpoint, slide)
    assert prediction.map_source == source
    total = prediction.bias + prediction.contributions.sum(axis=0, dtype=np.float64)
    np.testing.assert_allclose(total, prediction.logits, atol=1e-4)
    np.testing.assert_allclose(softmax(prediction.logits), prediction.probabilities)
    np.testing.assert_allclose(prediction.logits.sum(), 0, atol=1e-6)


def test_every_clustered_patch_is_in_a_map_and_no_other(model: Any, slide: Any) -> None:
    prediction = predict(model[1], slide, n_bags=1)
    clustered = slide.labels >= 0
    for values in (prediction.attention, prediction.patch_probabilities[:, 0]):
        np.testing.assert_array_equal(np.isfinite(values), clustered)
    assert not prediction.contributions[~clustered].any()
    assert prediction.n_bags > 1  # the largest cluster does not fit into one bag
    seen = prediction.attention[clustered]
    places = prediction.appearances[clustered]
    assert (seen >= 0).all()
    # A bag's attention sums to 1, times its length: over all places the mean is 1.
    assert (seen * places).sum() / places.sum() == pytest.approx(1, rel=1e-3)
    np.testing.assert_allclose(prediction.patch_probabilities[clustered].sum(axis=1), 1, rtol=1e-5)


def edited(slide: Any, excluded: Any, pinned: Any) -> SelectionEdits:
    rows = np.arange(len(slide.labels))
    return SelectionEdits(excluded=np.isin(rows, excluded), pinned=np.isin(rows, pinned))


def test_excluded_patches_are_in_no_map_and_pinned_ones_in_every_bag(
    model: Any, slide: Any
) -> None:
    of = [np.flatnonzero(slide.labels == cluster) for cluster in range(6)]
    edits = edited(slide, [*of[0], *of[1][:5]], [*of[1][5:8], *of[2][:1]])
    prediction = predict(model[1], slide, n_bags=1, edits=edits)
    seen = (slide.labels >= 0) & ~edits.excluded
    np.testing.assert_array_equal(np.isfinite(prediction.attention), seen)
    np.testing.assert_array_equal(np.isfinite(prediction.patch_probabilities[:, 0]), seen)
    assert not prediction.contributions[edits.excluded].any()
    assert (prediction.appearances[edits.pinned] == 1).all()
    assert prediction.appearances[seen & ~edits.pinned].max() < 1
    total = prediction.bias + prediction.contributions.sum(axis=0, dtype=np.float64)
    np.testing.assert_allclose(total, prediction.logits, atol=1e-4)
    assert prediction.n_clusters == 5, "of the first nothing is left"
    assert (prediction.n_excluded, prediction.n_pinned) == (len(of[0]) + 5, 4)
    assert prediction.edits_id == edits.edits_id != ""
    assert prediction.notes[-1].startswith(f"By hand, {len(of[0]) + 5} patches were excluded")
    plain = predict(model[1], slide, n_bags=1)
    assert (plain.n_clusters, plain.n_excluded, plain.n_pinned, plain.edits_id) == (6, 0, 0, "")
    assert not np.array_equal(plain.logits, prediction.logits)


def test_where_all_places_are_pinned_the_prediction_says_what_it_has_not_seen(
    model: Any, slide: Any
) -> None:
    of = np.flatnonzero(slide.labels == 0)
    edits = edited(slide, [], of[:12])
    prediction = predict(model[1], slide, edits=edits)
    assert np.isnan(prediction.attention[of[12:]]).all()
    assert np.isfinite(prediction.attention[of[:12]]).all(), "they take turns"
    assert prediction.notes[-1].startswith(f"{len(of) - 12} more patches are in no map")


def test_a_slide_of_which_all_is_excluded_is_refused(model: Any, slide: Any) -> None:
    everything = edited(slide, np.arange(200), [])
    with pytest.raises(TooFewPatchesError, match="slide 's' are excluded"):
        predict(model[1], slide, edits=everything)
    other = edited(slide, [], [1])
    with pytest.raises(GridMismatchError):
        predict_slide(
            model[1],
            slide.views,
            slide.labels,
            slide.cells,
            edits=SelectionEdits(excluded=other.excluded[1:], pinned=other.pinned[1:]),
        )


def test_the_logits_are_those_of_the_whole_model_bag_by_bag(model: Any, slide: Any) -> None:
    """The projected-once path equals plain forward passes of the modules."""
    source, checkpoint = model
    prediction = predict(checkpoint, slide, n_bags=3, seed=4)
    bags = covering_bags(slide.labels, n_per_cluster=10, n_bags=3, rng=generator(4, "predict", "s"))
    rows = standardised_rows(slide.views, checkpoint.views(), np.maximum(bags, 0).ravel())
    inputs = torch.from_numpy(rows).unflatten(0, bags.shape)
    mask = torch.from_numpy(bags >= 0)
    meta = checkpoint.meta
    with torch.no_grad():
        fused = checkpoint.student()(inputs, mask).logits / meta.student_logit_std
        if source == "local branches":
            local = checkpoint.branches()(inputs, mask).logits
            fused = fused + local.mean(dim=0) / meta.branches_logit_std
    fused = fused - fused.mean(dim=-1, keepdim=True)
    np.testing.assert_allclose(prediction.logits, fused.mean(dim=0), atol=1e-4)
    spread = fused.double().softmax(dim=-1).numpy().std(axis=0)
    np.testing.assert_allclose(prediction.spread, spread, atol=1e-4)


def test_the_planted_patches_stand_out(planted: Any, model: Any) -> None:
    source, checkpoint = model
    if source == "student":
        pytest.skip("the student's own map is not promised to point at the right patches")
    slide = planted(2, seed=78, n_patches=200).slides[1]
    prediction = predict(checkpoint, slide)
    assert prediction.predicted == "tumour"
    clustered = slide.labels >= 0
    planted_ones = clustered & (slide.truth == 1)
    for values in (prediction.map_contributions, prediction.patch_probabilities):
        others = np.quantile(values[clustered & (slide.truth == 0), 1], 0.9)
        assert np.median(values[planted_ones, 1]) > others


def test_the_same_seed_gives_the_same_prediction(model: Any, slide: Any) -> None:
    one, two = predict(model[1], slide, seed=3), predict(model[1], slide, seed=3)
    assert one.to_dict() == two.to_dict()
    np.testing.assert_array_equal(one.contributions, two.contributions)
    assert not np.array_equal(predict(model[1], slide, seed=4).logits, one.logits)


def test_views_are_taken_by_name_and_others_left_aside(
    planted: Any, model: Any, slide: Any
) -> None:
    checkpoint = model[1]
    extra = planted.view(np.zeros((200, 3)), "extra")
    shuffled = dataclasses.replace(slide, views=(extra, *slide.views[::-1]))
    np.testing.assert_array_equal(
        predict(checkpoint, shuffled).logits, predict(checkpoint, slide).logits
    )


def test_what_does_not_fit_the_checkpoint_is_refused(planted: Any, model: Any, slide: Any) -> None:
    checkpoint = model[1]
    with pytest.raises(CheckpointError, match="planted1, which slide s lacks"):
        predict(checkpoint, dataclasses.replace(slide, views=slide.views[:1]))
    narrow = planted.view(slide.views[1].values[:, :5], "planted1")
    with pytest.raises(CheckpointError, match="8 numbers a patch"):
        predict(checkpoint, dataclasses.replace(slide, views=(slide.views[0], narrow)))
    short = planted.view(slide.views[1].values[:-1], "planted1")
    with pytest.raises(GridMismatchError):
        predict_slide(checkpoint, (slide.views[0], short), slide.labels, slide.cells)
    with pytest.raises(GridMismatchError, match="cells"):
        predict_slide(checkpoint, slide.views, slide.labels, slide.cells[:-1])
    with pytest.raises(JobCancelled):
        predict(checkpoint, slide, stop=lambda: True)


def test_what_are_no_numbers_is_refused_and_not_left_out_of_the_map(
    planted: Any, model: Any, slide: Any
) -> None:
    checkpoint = model[1]
    large = {
        key: torch.full_like(value, 3e38) if "weight" in key else value
        for key, value in checkpoint.tensors.items()
    }
    with pytest.raises(CheckpointError, match="slide 's' are no numbers"):
        predict(dataclasses.replace(checkpoint, tensors=large), slide)
    with pytest.raises(CheckpointError, match="slide 's' are no numbers"):
        explain_slide(
            dataclasses.replace(checkpoint, tensors=large),
            slide.views,
            slide.labels,
            slide.cells,
            slide_id="s",
            device="cpu",
        )
    values = slide.views[0].values.copy()
    values[np.flatnonzero(slide.labels >= 0)[0], 0] = np.nan
    views = (planted.view(values, slide.views[0].encoder), *slide.views[1:])
    with pytest.raises(CheckpointError, match="embeddings, are damaged"):
        predict(checkpoint, dataclasses.replace(slide, views=views))


def test_another_recipe_is_refused_and_licences_travel(model: Any, slide: Any) -> None:
    checkpoint = model[1]
    sources = tuple(
        EmbeddingSource(
            name=one.name, dim=one.dim, licence="CC-BY-NC", recipe={"encoder": one.name}
        )
        for one in checkpoint.meta.encoders
    )
    strict = dataclasses.replace(
        checkpoint, meta=dataclasses.replace(checkpoint.meta, encoders=sources)
    )
    assert predict(strict, slide).licences == {"planted0": "CC-BY-NC", "planted1": "CC-BY-NC"}
    foreign = dataclasses.replace(sources[0], recipe={"encoder": "planted0", "precision": "f16"})
    strict = dataclasses.replace(
        strict, meta=dataclasses.replace(strict.meta, encoders=(foreign, sources[1]))
    )
    with pytest.raises(StaleArtifactError, match="precision"):
        predict(strict, slide)
