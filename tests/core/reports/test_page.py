"""The page as a browser reads it: whole, closed, and free of what strangers wrote."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from src_core import RESEARCH_USE
from src_core.reports import CROSS_VALIDATION
from src_core.reports.drawing import draw
from src_core.reports.figures import measure_sets
from src_core.reports.page import report_page
from src_core.reports.ranking import ranking_lines
from src_core.reports.survival import log_rank
from src_core.reports.tables import report_values

NASTY = "<script>alert(1)</script>\"'&$x_$\x00\ud800<img src=https://evil.example/x.png>"
VOID = {"meta", "img", "br", "hr", "input", "link"}


class Page(HTMLParser):
    """Elements with their attributes, and text; fails where a tag is not closed in turn."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(rows, **more) -> Page:
    return Page(report_page(rows, measure_sets(rows, n_resamples=40), **more))


def png() -> bytes:
    stream = BytesIO()
    Image.new("RGB", (4, 4), "red").save(stream, format="PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def nasty(random_classes):
    return random_classes(
        24,
        target_name=NASTY,
        outputs=(f"0{NASTY}", f"1{NASTY}"),
        slide_ids=tuple(f"{i}{NASTY}" for i in range(24)),
        patients=tuple(f"p{i}{NASTY}" for i in range(24)),
        sets=(f"set {NASTY}",) * 24,
        licences={f"encoder {NASTY}": f"licence {NASTY}"},
        notes=(f"note {NASTY}",),
        provenance={f"run {NASTY}": {"a": [NASTY], "b": NASTY}},
    )


def test_what_strangers_wrote_is_text_everywhere(nasty) -> None:
    html = report_page(nasty, measure_sets(nasty, n_resamples=40), pictures=lambda *_: png())
    page = Page(html)
    assert "script" not in {tag for tag, _ in page.tags}
    assert "\x00" not in html
    html.encode("utf-8")
    assert {str(one["src"])[:22] for one in page.all("img")} == {"data:image/png;base64,"}
    assert page.text.count("<script>alert(1)</script>") > 10
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_the_page_needs_nothing_from_elsewhere(nasty, random_survival) -> None:
    for rows in (nasty, random_survival(30)):
        page = page_of(rows)
        for tag, attributes in page.tags:
            for name in ("src", "href", "srcset", "action", "data", "background"):
                value = attributes.get(name) or "#"
                assert value.startswith(("data:image/png", "#")), (tag, value)
        assert not {"link", "iframe", "object", "script"} & {tag for tag, _ in page.tags}
        policy = [one for one in page.all("meta") if one.get("http-equiv")]
        assert "default-src 'none'" in str(policy[0]["content"])
        style = page.words[page.words.index(next(w for w in page.words if "@media" in w))]
        assert "url(" not in style
        assert "@import" not in style


def test_every_link_has_its_place_and_every_picture_its_words(random_classes) -> None:
    page = page_of(random_classes(40, sets=("inner",) * 20 + ("test",) * 20))
    places = {attributes.get("id") for _, attributes in page.tags}
    assert {str(one["href"])[1:] for one in page.all("a")} <= places
    assert len(page.all("img")) == len(page.all("figcaption")) == 4
    assert all(one["alt"] for one in page.all("img"))
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("caption")) == len(page.all("table"))


def test_it_says_what_it_is_for_and_how_it_was_made(random_classes) -> None:
    page = page_of(
        random_classes(
            30,
            licences={"virchow2": "CC-BY-NC-ND-4.0"},
            notes=("Embeddings were imported.",),
            provenance={"seed": 7, "versions": {"torch": "2.3"}, "long": "x" * 5000},
        )
    )
    for words in (RESEARCH_USE, "CC-BY-NC-ND-4.0", "Embeddings were imported.", "versions.torch"):
        assert words in page.text
    assert "30 slides of 30 patients; 15 normal, 15 tumour." in page.text
    assert "x" * 2001 not in page.text


def test_the_circle_of_the_curves_says_which_cut_it_is(random_classes) -> None:
    plain = page_of(random_classes(30, outputs=("normal", "tumour")))
    assert "The circle: tumour called from a probability of 0.5." in plain.text
    own = page_of(
        random_classes(30, outputs=("normal", "tumour"), thresholds=np.full((30, 2), 0.3))
    )
    assert "called from a probability of 0.3, chosen on validation." in own.text
    assert "operating point" not in plain.text + own.text, "that of a model may call nothing"


def test_folds_have_a_table_and_say_their_spread(random_classes) -> None:
    folds = np.arange(60) // 20
    page = page_of(random_classes(60, sets=(CROSS_VALIDATION,) * 60, folds=folds))
    assert "mean over folds" in page.text
    assert "sd over folds" in page.text
    assert "their standard deviation is no standard error" in page.text
    assert "all folds together" in page.words
    assert "a line for each fold" in page.text
    assert "the same models" in page.text


@pytest.mark.parametrize(("n_classes", "n_lines"), [(2, 3), (3, 3)])
def test_no_curve_ranks_the_scores_of_several_models(random_classes, n_classes, n_lines) -> None:
    """Another zero of each fold's scores changes none; their areas are the folds' own."""
    folds = np.arange(90) // 30
    about = {"n_classes": n_classes, "sets": (CROSS_VALIDATION,) * 90, "folds": folds}
    rows = random_classes(90, **about)
    shift = 5.0 * folds[:, None] * np.arange(n_classes)
    moved = random_classes(90, scores=rows.scores + shift, **about)
    lines, again = ranking_lines(rows), ranking_lines(moved)
    assert len(lines) == n_lines
    for line, other in zip(lines, again, strict=True):
        for name in ("false", "true", "recall", "precision"):
            np.testing.assert_allclose(getattr(line, name), getattr(other, name))
    (measured,) = measure_sets(rows, n_resamples=5)
    for name, of in (("auroc", roc_area), ("auprc", precise_area)):
        figure = next(one for one in measured.figures if one.name == name)
        assert figure.pooled is None
        assert np.mean([of(line) for line in lines]) == pytest.approx(
            figure.interval.value, abs=0.01
        )


def roc_area(line) -> float:
    return float(np.trapezoid(line.true, line.false))


def precise_area(line) -> float:
    """Average precision: each step holds from its recall down to the next."""
    return float((line.precision * -np.diff(line.recall, append=0.0)).sum())


def test_the_confusion_has_counts_and_shares(scored) -> None:
    p = np.array([0.9, 0.9, 0.1, 0.2, 0.8])
    logits = np.log(np.stack([1 - p, p], axis=1))
    page = page_of(scored(logits, [1, 1, 1, 0, 0], thresholds=np.full((5, 2), 0.4)))
    assert "tumour called from a probability of 0.4, chosen on validation" in page.text
    for cell in ("1 (50 %)", "1 (33 %)", "2 (67 %)"):
        assert cell in page.words


def test_the_confusion_has_the_indeterminate_and_says_what_rates_leave_out(scored) -> None:
    p = np.array([0.9, 0.9, 0.5, 0.1, 0.5, 0.8])
    logits = np.log(np.stack([1 - p, p], axis=1))
    page = page_of(scored(logits, [1, 1, 1, 0, 0, 0], thresholds=np.tile([0.4, 0.7], (6, 1))))
    assert "tumour called from a probability of 0.7, normal below 0.4, nothing between" in page.text
    assert "indeterminate" in page.words
    assert page.words.count("1 (33 %)") == 4
    assert page.words.count("2 (67 %)") == 1
    assert "Sensitivity among the called: tumour called so" in page.words
    assert "Share called, not indeterminate" in page.words
    assert "is normal, probability 0.200; called tumour, probability 0.800" in page.text
    assert "is tumour, probability 0.500" not in page.text, "what is not called is not wrong"


def test_maps_beyond_what_a_page_holds_are_named_instead(random_classes) -> None:
    stream = BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (1000, 900, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, format="PNG")
    rows = random_classes(2000, slide_ids=tuple(f"s{i}{'x' * 200}" for i in range(2000)))
    html = report_page(
        rows, measure_sets(rows, n_resamples=40), pictures=lambda *_: stream.getvalue()
    )
    assert len(html.encode()) < 15_000_000
    assert "Maps of 3 of these slides are not shown: s" in html


def test_the_wrong_slides_show_their_maps(scored) -> None:
    p = np.array([0.9, 0.1, 0.2])
    rows = scored(np.log(np.stack([1 - p, p], axis=1)), [1, 1, 0], patients=("a", "b", "c"))
    asked = []

    def pictures(name, slide_id, output):
        assert name == "test"
        asked.append(slide_id)
        return png()

    page = page_of(rows, pictures=pictures)
    assert asked == ["s1"]
    assert "is tumour, probability 0.100" in page.text
    assert [one["alt"] for one in page.all("img")][-1] == "Maps of slide s1."
    assert len(page_of(rows, pictures=lambda *_: None).all("img")) == len(page.all("img")) - 1
    two = {"patients": ("b", "b"), "slide_ids": ("x", "y")}
    merged = scored(rows.scores[[1, 1]], [1, 1], **two).by_patient()
    asked.clear()
    assert "The patients it got most wrong" in page_of(merged, pictures=pictures).text
    assert asked == ["x", "y"]
    true = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    said = np.array([[0.0, 5.0], [1.0, 1.0], [2.0, 2.0]])
    genes = scored(said, true, task="regression")
    shown: list[Any] = []
    page_of(genes, pictures=lambda *which: shown.append(which))
    assert shown == [("test", "s0", 1)], "the maps of the target that it is wrong in"
    with pytest.raises(ValueError, match="PNG"):
        page_of(rows, pictures=lambda *_: b"<svg onload=alert(1)>")


def test_every_task_and_every_sparse_set_makes_a_page(scored, random_survival) -> None:
    """One slide, one class, constant scores, no event, unknown targets: cautions, not errors."""
    rng = np.random.default_rng(0)
    unknown = np.full((4, 2), np.nan)
    for rows in (
        scored(np.zeros((1, 2)), [0]),
        scored(np.zeros((4, 3)), [1, 1, 1, 1]),
        scored([[0.0]], [[3.0, 0]], task="survival"),
        scored(np.zeros((4, 1)), [[0.0, 1], [0.0, 0], [2.0, 0], [2.0, 1]], task="survival"),
        scored([[0.0], [1.0]], [[0.0, 0], [0.0, 1]], task="survival"),
        scored(rng.normal(size=(4, 2)), unknown, task="regression"),
        scored(rng.normal(size=(1, 2)), [[1.0, 2.0]], task="regression"),
        random_survival(9, training_risks=np.full(9, 9.0)),
    ):
        assert "caution" in {one.get("class") for one in page_of(rows).all("ul")}


def test_a_survival_page_says_whose_median_parts_the_curves_and_its_p_value(
    random_survival,
) -> None:
    own, low = random_survival(60), random_survival(60, training_risks=np.full(60, -0.5))
    assert "split at the median risk of the scored slides themselves; log-rank p" in (
        page_of(own).text
    )
    risks = low.scores[:, 0]
    values: Any = report_values(low, measure_sets(low, n_resamples=5))
    (told,) = values["sets"].values()
    assert told["groups"] == {"high": int((risks > -0.5).sum()), "low": int((risks <= -0.5).sum())}
    p = log_rank(low.targets[:, 0], low.events, risks > -0.5).value
    assert told["log_rank_p"]["value"] == p
    page = page_of(low)
    assert f"split at the median risk of the training slides; log-rank p = {p:.4f}." in page.text
    assert any(f"log-rank p = {p:.4f}" in str(one["alt"]) for one in page.all("img"))


def test_many_classes_and_many_targets_stay_readable(scored) -> None:
    rng = np.random.default_rng(1)
    classes = tuple(f"class {i}" for i in range(30))
    rows = scored(rng.normal(size=(60, 30)), np.arange(60) % 30, outputs=classes)
    assert "The confusion of 30 classes is in the JSON file." in page_of(rows).text
    genes = tuple(f"gene {i}" for i in range(64))
    values, true = rng.normal(size=(2, 12, 64))
    page = page_of(scored(values, true, task="regression", outputs=genes))
    assert "4 more are in the JSON file" in page.text
    assert "Evaluation: gene 0, gene 1, gene 2, gene 3 and 60 more" in page.words
    assert len(page.all("img")) == 8


@pytest.mark.parametrize("genes", [("TP53",), ("TP53", "KRAS: mutant", "MYC")])
@pytest.mark.parametrize("n_folds", [0, 2])
def test_the_error_of_each_target_stands_beside_its_correlation(scored, genes, n_folds) -> None:
    """Both with their intervals, which draw patients: a patient's slides come together."""
    rng = np.random.default_rng(2)
    true = rng.normal(size=(40, len(genes))) * 10.0 ** np.arange(len(genes))
    rows = scored(
        true * rng.uniform(0.5, 1.5, size=true.shape),
        true,
        task="regression",
        outputs=genes,
        patients=tuple(f"p{i // 2}" for i in range(40)),
        sets=(CROSS_VALIDATION if n_folds else "test",) * 40,
        folds=np.arange(40) // 20 if n_folds else None,
    )
    measured = measure_sets(rows, n_resamples=40)
    found = {figure.name: figure.interval for figure in measured[0].figures}
    lines = table_rows(report_page(rows, measured))
    for column, name in enumerate(genes):
        alone = len(genes) == 1
        error = found["mean_squared_error" if alone else f"mean_squared_error_{column}"]
        squares = (rows.scores[:, column] - true[:, column]) ** 2
        assert error.value == pytest.approx(squares.mean())
        assert error.n_patients == 20
        told = {*told_of(error), *told_of(found[f"pearson_{column}"])}
        if alone:
            heads = ("Mean squared error (0 is best)", f"Pearson r: {name}")
            line = [cell for head in heads for cell in lines[head]]
        else:
            line = lines[name]
        assert told <= set(line)


def told_of(interval: Any) -> tuple[str, str]:
    """Return a figure and its interval as the page writes them."""
    value, low, high = (
        f"{one:.3f}" if 0.001 <= abs(one) < 100 else f"{one:.3g}"
        for one in (interval.value, interval.low, interval.high)
    )
    return value, f"({low} to {high})"


def table_rows(html: str) -> dict[str, list[str]]:
    """Return the cells of each line of the page's tables, by its heading."""
    lines = re.findall(r"<tr><th scope=\"row\">(.*?)</th>(.*?)</tr>", html)
    return {head: re.findall(r"<td[^>]*>(.*?)</td>", cells) for head, cells in lines}


def test_the_same_scores_make_the_same_page(random_classes) -> None:
    rows = random_classes(30)
    first, again = (report_page(rows, measure_sets(rows, n_resamples=40)) for _ in range(2))
    assert first == again


def test_a_plot_is_a_picture_of_its_size() -> None:
    plot = draw(lambda figure: figure.subplots().plot([0, 1]), size=(2, 1), caption="c", alt="a")
    with Image.open(BytesIO(plot.png)) as image:
        assert image.size == (320, 160)
    assert plot.width == 200
