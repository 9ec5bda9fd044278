import msgspec
import pytest

from wardround_common.errors import ConfigError
from wardround_common.plan_checks import check_plan, plan_from_tables
from wardround_common.plan_text import explain
from wardround_common.trust import plan_digest


def tables(plan):
    return msgspec.json.decode(msgspec.json.encode(plan))


def test_a_plan_survives_its_tables(plan):
    assert plan_from_tables(tables(plan)) == plan


def test_the_golden_digest_of_a_plan_has_not_changed(plan):
    assert plan_digest(plan).hex() == "6c34b04baa147318d1a86e7e2d02c3da2d35a302593da888cffc0a83576b0ba9"


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("colour",), 1, "colour"),
        (("recipe", "colour"), 1, r"colour.*plan\.recipe"),
        (("sites", 1, "colour"), 1, r"colour.*plan\.sites\[1\]"),
        (("rounds",), "many", r"plan\.rounds"),
        (("rounds",), 0, r"plan\.rounds"),
        (("privacy", "target_epsilon"), 51, r"plan\.privacy\.target_epsilon"),
        (("privacy", "target_epsilon"), -1, r"plan\.privacy\.target_epsilon"),
        (("sites", 0, "name"), "St. Alder", r"plan\.sites\[0\]\.name"),
        (("sites", 0, "name"), "alder\n", r"plan\.sites\[0\]\.name"),
        (("sites", 0, "name"), "birch", "names a site twice"),
        (("sites", 0, "name"), "coordinator", "coordinator"),
        (("aggregation", "minimum_cohort"), 4, "minimum_cohort"),
        (("aggregation", "ring_bits"), 24, r"plan\.aggregation\.ring_bits"),
        (("aggregation", "quantiser"), "best", r"plan\.aggregation\.quantiser"),
        (("aggregation", "cipher"), "rc4", r"plan\.aggregation\.cipher"),
        (("aggregation", "mask_degree"), 5, r"plan\.aggregation\.mask_degree"),
        (("aggregation", "mask_degree"), 2, r"plan\.aggregation\.mask_degree"),
        (("aggregation", "round_deadline_s"), 0, r"plan\.aggregation\.round_deadline_s"),
        (("labels",), ["a", "a"], "label twice"),
        (("labels",), ["a", "b", "c"], r"plan\.labels.*two labels"),
        (("task", "class_weights"), [1.0], r"plan\.task\.class_weights"),
        (("input", "window_width"), 0, "window_width"),
        (("input", "window"), "file", "window_width"),
        (("input", "channels"), 2, r"plan\.input\.channels"),
        (("input", "channels"), 3, r"plan\.input\.channels"),
        (("input", "spacing_mm"), 0, r"plan\.input\.spacing_mm"),
        (("input", "spacing_mm"), -1, r"plan\.input\.spacing_mm"),
        (("task", "bin_edges"), [0.5, 0.4], r"plan\.task\.bin_edges"),
        (("task", "bin_edges"), [0.5, 1.0], r"plan\.task\.bin_edges"),
        (("task", "specificity"), 1.0, r"plan\.task\.specificity"),
        (("expires",), "2026-02-30", "expires"),
        (("expires",), "2026-02-20\n", r"plan\.expires"),
        (("lead_key",), "0" * 64 + "\n", r"plan\.lead_key"),
        (("model", "name"), "resnet", "resnet"),
        (("task",), "classification", r"plan\.task"),
        (("task", "name"), "segmentation", r"plan\.task\.name"),
        (("task", "latent"), 64, r"latent.*plan\.task"),
        (("evaluation",), None, r"plan\.evaluation.*needs"),
    ],
)
def test_a_field_that_does_not_fit_is_refused_by_its_path(plan, path, value, named):
    changed = tables(plan)
    part = changed
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(ConfigError, match=named) as caught:
        plan_from_tables(changed)
    assert caught.value.remedy


def test_the_fast_quantiser_needs_a_ring_of_32_bits(plan):
    changed = tables(plan)
    changed["aggregation"] = {"quantiser": "fast", "ring_bits": 32}
    plan_from_tables(changed)
    changed["aggregation"] = {"quantiser": "fast", "ring_bits": 16}
    with pytest.raises(ConfigError, match=r"plan\.aggregation\.quantiser"):
        plan_from_tables(changed)


def test_sixteen_bits_are_not_for_more_sites_than_leave_each_256_levels(plan):
    changed = tables(plan)
    changed["aggregation"] = {"ring_bits": 16}
    changed["sites"] = [{"name": f"s{i}", "patients": 1} for i in range(128)]
    plan_from_tables(changed)
    changed["sites"].append({"name": "one-more", "patients": 1})
    with pytest.raises(ConfigError, match=r"plan\.aggregation\.ring_bits"):
        plan_from_tables(changed)
    changed["aggregation"] = {"ring_bits": 32}
    plan_from_tables(changed)


COLOUR = {"modality": "XC", "channels": 3, "size_px": 64, "spacing_mm": 0.0, "window": "file"}


def in_colour(plan, *, model="small", **changes):
    return tables(plan) | {"model": {"name": model}, "input": COLOUR | changes}


def test_a_colour_plan_is_accepted_and_explained(plan):
    text = explain(plan_from_tables(in_colour(plan)))
    assert "XC images" in text
    assert "red, green and blue as stored" in text
    assert "of the middle square, whatever its scale" in text
    plan_from_tables(in_colour(plan, modality="GM", spacing_mm=0.1))
    plan_from_tables(in_colour(plan, model="scatter"))


@pytest.mark.parametrize(
    ("named", "changes"),
    [
        (r"plan\.input\.window: ", {"window": "fixed", "window_width": 1.0}),
        (r"plan\.input\.window_width: ", {"window_center": 1.0}),
        (r"plan\.input\.channels: ", {"modality": "DX", "spacing_mm": 1.0}),
        (r"plan\.input\.spacing_mm: ", {"modality": "GM"}),
        (r"plan\.input\.modality", {"modality": "ES"}),
    ],
)
def test_a_colour_plan_that_makes_no_sense_is_refused_by_its_path(plan, named, changes):
    with pytest.raises(ConfigError, match=named):
        plan_from_tables(in_colour(plan, **changes))


def test_a_missing_field_is_named(plan):
    changed = tables(plan)
    del changed["privacy"]["target_delta"]
    with pytest.raises(ConfigError, match="target_delta"):
        plan_from_tables(changed)


def test_a_plan_cannot_be_changed_after_it_is_made(plan):
    with pytest.raises(AttributeError):
        plan.rounds = 1


def test_weights_of_the_sites_add_up_to_one(plan):
    assert sum(plan.weight(site.name) for site in plan.sites) == pytest.approx(1)
    assert plan.weight("cedar") == 1 / 8


def test_the_explanation_states_what_a_privacy_officer_asks_for(plan):
    check_plan(plan)
    text = explain(plan)
    for wanted in ("alder", "16 rounds", "epsilon 8", "1e-05", "at least 3", "2099-12-31", "never", "sum"):
        assert wanted in text
    assert plan_digest(plan).hex() in text


def test_the_explanation_says_how_the_sum_is_protected(plan):
    text = explain(plan)
    for wanted in ("-16 to 16", "32 bits", "AES-256", "again itself", "60 minutes"):
        assert wanted in text
    other = tables(plan)
    other["sites"] = [{"name": f"s{i}", "patients": 1} for i in range(20)]
    other["aggregation"] = {
        "ring_bits": 16, "clips": "last", "clip_log2": -3, "cipher": "chacha20", "verify": "sum",
    }  # fmt: skip
    text = explain(plan_from_tables(other))
    for wanted in (
        "-0.125 to 0.125",
        "last sum",
        "at random",
        "16 bits",
        "ChaCha20",
        "12 of them",
        "altered",
    ):
        assert wanted in text
