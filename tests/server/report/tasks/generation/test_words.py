"""Sentences about synthetic images: careful with what they are worth and with what they copy."""

import pytest
from generated import judged
from msgspec.structs import replace

from wardround_common.evaluation import Estimate
from wardround_server.report.tasks.generation import words
from wardround_server.report.tasks.generation.results import Diversity, Generation, GenerationResults, Nearest

COPIES = Nearest(
    to_train=(0.01, 0.02, 0.03), to_held_out=(0.08, 0.09, 0.1), nearer_to_train=Estimate(0.71, 0.64, 0.77)
)


def warned(generated, **changes):
    made = replace(generated.results.generation, **changes)
    return " ".join(words.warnings(replace(generated, results=GenerationResults(generation=made))))


def compared(ours, theirs):
    return Generation(train_synthetic_test_real=ours, class_mean_baseline=theirs)


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        ((0.86, 0.79, 0.91), "clearly worth more"),
        ((0.74, 0.66, 0.81), "No clear difference"),
        ((0.69, 0.60, 0.77), "worth no more"),
        ((0.70, 0.61, 0.78), "worth no more"),
    ],
)
def test_better_is_said_only_where_the_intervals_do_not_meet(ours, said):
    assert said in words.worth(compared(judged(*ours), judged(0.70, 0.61, 0.78)))


def test_without_both_figures_no_verdict_is_given():
    assert words.worth(Generation()) == ""
    assert words.worth(compared(judged(0.86, 0.79, 0.91), None)) == ""
    assert words.worth(compared(judged(0.5, 0.0, 1.0), judged(0.70, 0.61, 0.78))) == ""


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.51, 0.63, "A sign of copying"),
        (0.5, 0.62, "No sign of copying"),
        (0.38, 0.49, "No sign of copying"),
    ],
)
def test_copying_is_said_where_the_interval_lies_above_chance(low, high, said):
    share = Estimate((low + high) / 2, low, high)
    assert words.copying(replace(COPIES, nearer_to_train=share)).startswith(said)


def test_without_samples_nothing_is_said_of_copying():
    assert words.copying(replace(COPIES, nearer_to_train=Estimate(0.5, 0.0, 1.0))).startswith("Too few")


def test_a_usable_generator_gets_no_warning(generated):
    assert warned(generated) == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train_synthetic_test_real": judged(0.70, 0.61, 0.77)}, "not better than an average image"),
        ({"train_synthetic_test_real": judged(0.5, 0.0, 1.0)}, "Too few real test patients"),
        ({"agreement": {"normal": Estimate(0.79, 0.72, 0.85)}}, "'normal' 79 % (72 % to 85 %)"),
        ({"diversity": {"normal": Diversity(samples=0.07, real=0.15)}}, "'normal'"),
        ({"nearest": COPIES}, "A sign of copying: 71 % of the synthetic images"),
    ],
)
def test_what_makes_images_useless_or_dangerous_is_warned_of(generated, changes, said):
    assert said in warned(generated, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"train_synthetic_test_real": judged(0.709, 0.62, 0.78)},
        {"train_synthetic_test_real": judged(0.4, 0.3, 0.5), "class_mean_baseline": judged(0.5, 0.0, 1.0)},
        {"agreement": {"normal": Estimate(0.8, 0.73, 0.86)}},
        {"agreement": {"normal": Estimate(0.5, 0.0, 1.0)}},
        {"diversity": {"normal": Diversity(samples=0.08, real=0.15)}},
        {"nearest": replace(COPIES, nearer_to_train=Estimate(0.57, 0.5, 0.64))},
    ],
)
def test_what_is_just_good_enough_or_not_known_is_not_warned_of(generated, changes):
    assert warned(generated, **changes) == ""
