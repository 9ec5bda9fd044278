"""The page of a generator: its images, what they are worth, marked where only a simulation knows it."""

import re

import msgspec
import pytest
from msgspec.structs import replace
from pages import HOSTILE, checked, contents, section

from wardround_common.evaluation import Estimate
from wardround_server.report import write_model_card, write_report
from wardround_server.report.tasks.generation.results import (
    GenerationResults,
    LabelPictures,
    Picture,
)


def written(report, tmp_path, **changes):
    made = replace(report.results.generation, **changes)
    return write_report(replace(report, results=GenerationResults(generation=made)), tmp_path).read_text()


def test_page_has_its_sections_in_order(generated, generated_deployed, tmp_path):
    shown = ["summary", "trained", "synthetic", "over-rounds", "between"]
    common = ["budget", "protection", "bytes", "rounds", "time"]
    assert contents(write_report(generated, tmp_path).read_text()) == [
        *(*shown, "worth", "copies"),
        *common,
        *("images", "plan", "reproduce"),
    ]
    assert contents(write_report(generated_deployed, tmp_path).read_text()) == [
        *shown,
        *common,
        *("plan", "reproduce"),
    ]


def test_everything_that_needs_real_images_is_marked(generated, tmp_path):
    page = write_report(generated, tmp_path).read_text()
    for name in ("worth", "copies"):
        assert re.search(rf'<h2 id="{name}">.*simulation only, not private', page)
    real = re.findall(r"<figcaption><b>Real</b>.*?</figcaption>", page)
    assert len(real) == 2
    assert all("simulation only, not private" in caption for caption in real)
    first = section(page, "summary").partition("Privacy cost")[0]
    assert "0.861" in first
    assert "simulation only, not private" in first


def test_synthetic_images_are_not_marked_as_simulation_only(generated_deployed, tmp_path):
    page = write_report(generated_deployed, tmp_path).read_text()
    assert "simulation only" not in page.partition("</style>")[2]
    assert page.count("<b>Synthetic</b>") == 2
    assert "How good they are was not measured" in page
    assert "how good the images are: that needs real images" in page


def test_every_picture_says_what_it_shows(generated, tmp_path):
    page = write_report(generated, tmp_path).read_text()
    alts = re.findall(r'<img src="data:[^"]*" alt="([^"]*)"', page)
    assert "Synthetic images of the class normal" in alts
    assert "Real training images of the class pneumonia" in alts
    assert "Synthetic images after round 12" in alts
    assert len(alts) == len(set(alts)) == 14


WORTH = (
    "synthetic images {}; real images, no privacy {}; synthetic images, no privacy {}; "
    "class means, no privacy {}"
)


def test_the_rivals_stand_beside_the_synthetic_images(generated, tmp_path):
    page = write_report(generated, tmp_path).read_text()
    card = section(page, "summary").partition("Privacy cost")[0]
    assert "With real images instead: 0.934 (0.883 to 0.965)" in card
    assert "With an average image of each class: 0.708 (0.619 to 0.783)" in card
    worth = section(page, "worth")
    assert worth.count(WORTH.format("0.861", "0.934", "0.826", "0.708")) == 2
    assert worth.count(WORTH.format("0.802", "0.871", "0.771", "0.655")) == 2


def test_warnings_stand_on_the_page_and_in_the_card(generated, tmp_path):
    made = replace(generated.results.generation, agreement={"normal": Estimate(0.41, 0.33, 0.5)})
    report = replace(generated, results=GenerationResults(generation=made))
    page, card = write_report(report, tmp_path).read_text(), write_model_card(report, tmp_path).read_text()
    assert "Too few synthetic images show the label" in section(page, "summary")
    assert "Too few synthetic images show the label" in card.partition("## Limits")[2]
    assert "1 round void (14)" in section(page, "summary")


def test_without_a_public_test_set_nothing_is_said_of_one(generated, tmp_path):
    assert "public test set" not in written(generated, tmp_path, external={})


def test_figures_without_the_synthetic_ones_are_still_shown(generated, tmp_path):
    page = written(generated, tmp_path, train_synthetic_test_real=None, class_mean_baseline=None)
    assert "worth" in contents(page)
    assert "What it draws" in page


def test_what_each_network_is_promised_is_said(generated, tmp_path):
    page = write_report(generated, tmp_path).read_text()
    promises = generated.plan.task.promises(generated.plan)
    assert len(promises) == 2
    found = section(page, "budget").replace("&#39;", "'").lower()
    assert all(promise.lower() in found for promise in promises)


def test_pictures_beyond_the_page_stay_in_the_data(generated, tmp_path):
    big = Picture(png=bytes(900_000))
    classes = tuple(LabelPictures(label=name, samples=big, real=big) for name in ("normal", "pneumonia"))
    page = written(generated, tmp_path, classes=classes)
    assert len(page) < 3_000_000
    assert "2 further pictures in report.json" in section(page, "synthetic")
    assert section(page, "synthetic").count("<img ") == 2
    data = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    assert len(data["generation"]["classes"]) == 2


def test_sixty_four_classes_have_a_page(generated, tmp_path):
    labels = tuple(f"class-{i}" for i in range(64))
    made = generated.results.generation
    small = replace(made.classes[0], real=None)
    many = replace(
        generated,
        plan=replace(generated.plan, labels=labels),
        results=GenerationResults(
            generation=replace(made, classes=tuple(replace(small, label=label) for label in labels))
        ),
    )
    page = write_report(many, tmp_path).read_text()
    checked(page)
    assert len(page) < 3_000_000
    assert "class-0, class-1, class-2, class-3 and 60 others" in page
    assert "further pictures in report.json" in page


def test_json_has_the_names_that_others_read(generated, tmp_path):
    write_report(generated, tmp_path)
    made = msgspec.json.decode((tmp_path / "report.json").read_bytes())["generation"]
    names = {"train_synthetic_test_real", "train_real_test_real", "class_mean_baseline", "without_privacy"}
    assert set(made["external"]) == names <= set(made)
    assert made["train_synthetic_test_real"]["auroc"]["value"] == 0.861
    assert set(made["agreement"]) == set(made["diversity"]) == {"normal", "pneumonia"}
    assert made["nearest"]["nearer_to_train"]["value"] == 0.52


def test_hostile_words_stay_words(generated, tmp_path):
    made = generated.results.generation
    picture = replace(made.over_rounds[0].picture, caption=HOSTILE, alt=HOSTILE)
    one = LabelPictures(label=HOSTILE, samples=picture, real=picture)
    hostile = replace(
        made,
        tested_on=HOSTILE,
        agreement={HOSTILE: replace(made.agreement["normal"], value=0.3)},
        diversity={HOSTILE: replace(made.diversity["normal"], samples=0.01)},
        classes=(one,),
        over_rounds=(replace(made.over_rounds[0], picture=picture),),
        interpolation=(one,),
    )
    report = replace(
        generated,
        plan=replace(generated.plan, labels=(HOSTILE, HOSTILE)),
        results=GenerationResults(generation=hostile),
    )
    page = write_report(report, tmp_path).read_text()
    assert "script" not in checked(page).names
    card = write_model_card(report, tmp_path).read_text()
    assert "<script" not in card.split("---\n", 2)[2].replace("\\<script", "")


@pytest.mark.parametrize("setting", ["simulation", "deployment"])
def test_failed_study_still_gets_its_page(generated_deployed, setting, tmp_path):
    failed = replace(generated_deployed, setting=setting, results=None)
    page = write_report(failed, tmp_path).read_text()
    assert "How good they are was not measured" in page
    assert "synthetic" not in contents(page)
