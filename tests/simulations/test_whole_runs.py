"""Whole runs on phantom hospitals, through every part of the production path."""

import json
import re
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file

from wardround_client.catalogue import CATALOGUE_FILE, Catalogue
from wardround_client.ingest import load_rejects
from wardround_client.policy import SitePolicy
from wardround_client.site import open_ledger
from wardround_common.accounting import evaluate_event, train_event
from wardround_common.audit import verify
from wardround_common.errors import ConfigError, PrivacyError
from wardround_server.observer import Silent
from wardround_simulations.federation import Federation, read_sites, run_study
from wardround_simulations.grid import FIRST_NODE
from wardround_simulations.live import Screen
from wardround_simulations.phantoms import planted_identifiers, write_phantoms
from wardround_simulations.run import Job, run_scenario, scenario_path
from wardround_simulations.scenario import load_scenario
from wardround_simulations.sites import CATALOGUE

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, seed=5, scale=0.2)
    return folder


def federation(out, *, workers=2, baselines=False, lifetime_epsilon=40.0, **changes):
    scenario = load_scenario(scenario_path("demo"))
    plan = msgspec.structs.replace(scenario.plan, **({"rounds": 3} | changes))
    simulation = msgspec.structs.replace(scenario.simulation, baselines=baselines)
    scenario = msgspec.structs.replace(scenario, plan=plan, simulation=simulation)
    return Federation(
        scenario=scenario, out=out, workers=workers, policy=SitePolicy(lifetime_epsilon=lifetime_epsilon)
    )


def run(federation, phantoms, **options):
    return run_scenario(
        Job(federation=federation, sites=phantoms, test=None, command="wardround-sim", **options)
    )


class Tap:
    """Keeps every byte that crosses the grid."""

    def __init__(self):
        self.heard = []

    def __call__(self, leg, node, message_type, data):
        self.heard.append(data)
        return data


def spellings(word):
    yield from (word.encode(), word.encode("utf-16-le"), word.encode("utf-16-be"))
    yield word.encode().hex().encode()
    yield word.encode().hex().upper().encode()


def leaks(words, haystacks):
    return {word for word in words for data in haystacks for spelling in spellings(word) if spelling in data}


def files_outside_the_sites(out):
    folders = (out / "sites",)
    return [path for path in out.rglob("*") if path.is_file() and not any(f in path.parents for f in folders)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, phantoms):
    out = tmp_path_factory.mktemp("whole") / "deep" / "out"
    tap = Tap()
    report = run(federation(out, baselines=True), phantoms, wire=tap)
    return out, tap, report


def key_of(site):
    return load_scenario(scenario_path("demo")).secrets.key(site).public


def patient_ids(phantoms):
    rows = [
        line.split(",")[0] for csv in phantoms.glob("*/labels.csv") for line in csv.read_text().split()[1:]
    ]
    return set(rows)


def test_no_planted_identifier_crosses_the_grid_or_is_written_outside_a_sites_folder(finished, phantoms):
    out, tap, _ = finished
    words = set(planted_identifiers()) | patient_ids(phantoms)
    assert len(planted_identifiers()) == 20
    assert len(tap.heard) > 100
    assert leaks(words, tap.heard) == set()
    written = files_outside_the_sites(out)
    names = {"report.html", "report.json", "log.jsonl", "model.safetensors", "audit.sqlite"}
    assert names <= {p.name for p in written}
    assert leaks(words, [str(path).encode() + path.read_bytes() for path in written]) == set()


def test_no_patient_is_in_an_audit_log(finished, phantoms):
    out, _, _ = finished
    words = set(planted_identifiers()) | patient_ids(phantoms)
    for site in ("alder", "birch", "cedar"):
        log = (out / "sites" / site / "audit.sqlite").read_bytes()
        path = out / "sites" / site / CATALOGUE / CATALOGUE_FILE
        catalogue = Catalogue.load(path, federation(out).sealer(site))
        keys = {bytes(key) for key in catalogue.patient_keys}
        assert len(keys) > 10
        assert leaks(words, [log]) == set()
        assert not [key for key in keys if key in log or key.hex().encode() in log]
        assert verify(out / "sites" / site / "audit.sqlite", key_of(site)).rows > 20


def test_a_planted_leak_in_one_message_would_be_found(finished):
    _, tap, _ = finished
    word = planted_identifiers()[7]
    for spelling in spellings(word):
        leaking = [*tap.heard[:5], tap.heard[5] + spelling, *tap.heard[6:]]
        assert leaks({word}, leaking) == {word}


def test_the_report_holds_the_fixed_names(finished):
    out, _, path = finished
    assert path == out / "report.html"
    report = json.loads((out / "report.json").read_text())
    evaluation = report["evaluation"]
    for model in ("federated", "federated_without_privacy", "pooled"):
        assert set(evaluation[model]["auroc"]) >= {"value", "low", "high"}
    for model in ("local", "local_private"):
        for site in ("alder", "birch", "cedar"):
            auroc = evaluation[model][site]["auroc"]
            assert 0 <= auroc["low"] <= auroc["value"] <= auroc["high"] <= 1
    assert evaluation["federated_released"]["auroc"]["noise_sd"] > 0
    for site in ("alder", "birch", "cedar"):
        cost = report["privacy"]["sites"][site]
        assert 0 < cost["epsilon_spent"] <= 8.0
        assert cost["delta"] > 0
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", path.read_text())


def test_the_epsilon_of_the_report_is_the_independent_figure_for_the_steps_that_were_taken(finished):
    out, _, _ = finished
    from dp_accounting import GaussianDpEvent, NeighboringRelation, PoissonSampledDpEvent
    from dp_accounting.pld import PLDAccountant

    plan = federation(out).plan
    report = json.loads((out / "report.json").read_text())
    accountant = PLDAccountant(NeighboringRelation.ADD_OR_REMOVE_ONE, value_discretization_interval=1e-4)
    event = PoissonSampledDpEvent(plan.recipe.sample_rate, GaussianDpEvent(plan.privacy.noise_multiplier))
    accountant.compose(event, plan.steps)
    independent = accountant.get_epsilon(plan.privacy.target_delta)
    for site in ("alder", "birch", "cedar"):
        stated = report["privacy"]["sites"][site]["by_side"]["train"]
        assert stated == pytest.approx(independent, abs=0.02)


def test_the_ledgers_hold_one_spend_a_round_and_their_chains_are_whole(finished):
    out, _, _ = finished
    small = federation(out)
    for site in small.names:
        identifier = small.scenario.secrets.ledger_id(site)
        ledger = open_ledger(small.home(site), policy=small.policy, simulation_id=identifier)
        spends = ledger.spends(small.plan.study)
        assert [(spend.round, spend.kind) for spend in spends] == [
            (1, "train"),
            (2, "train"),
            (3, "train"),
            (4, "evaluate"),
        ]
        steps = sum(spend.event.steps for spend in spends if spend.kind == "train")
        assert steps == train_event(small.plan, small.plan.steps).steps
        assert spends[-1].event == evaluate_event(small.plan)
        assert ledger.verify() > 0
        ledger.shut()


def test_originals_are_untouched_and_rejects_are_kept_at_the_site(finished, phantoms):
    out, _, _ = finished
    for site in ("alder", "birch", "cedar"):
        files = len([path for path in (phantoms / site).rglob("*") if path.suffix == ".dcm"])
        store = out / "sites" / site / CATALOGUE
        rejects = load_rejects(store, sealer=federation(out).sealer(site)).splitlines()[1:]
        report = json.loads((out / "report.json").read_text())["data"][site]
        assert report["images"] + len(rejects) == files
        assert sum(report["rejects"].values()) == len(rejects)


def test_a_second_study_goes_on_the_same_ledgers_until_they_are_overdrawn(finished, phantoms):
    out, _, _ = finished
    with pytest.raises(ConfigError) as twice:
        run(federation(out), phantoms)
    assert twice.value.code == "config.study_exists"
    run(federation(out, study="second"), phantoms)
    assert (out / "studies" / "demo" / "report.html").exists()
    assert (out / "studies" / "second" / "report.html").exists()
    overdrawn = federation(out, study="third", lifetime_epsilon=14.0)
    with pytest.raises(PrivacyError, match="lifetime") as caught:
        run(overdrawn, Path("/nonexistent"))  # refused before any file is opened
    assert caught.value.code == "privacy.overdrawn"


def test_removing_data_and_adding_it_under_another_name_finds_the_old_spend(tmp_path, phantoms):
    small = federation(tmp_path / "out", study="first", lifetime_epsilon=10.0)
    run(small, phantoms)
    moved = tmp_path / "moved"
    for site in small.names:
        (moved / site).mkdir(parents=True)
        for number, path in enumerate(sorted((phantoms / site).glob("*.dcm"), reverse=True)[:40]):
            shutil.copyfile(path, moved / site / f"renamed-{number}.dcm")
        shutil.copyfile(phantoms / site / "labels.csv", moved / site / "labels.csv")
    again = federation(small.out, study="again", lifetime_epsilon=10.0)
    read_sites(again, moved, Screen())
    with pytest.raises(PrivacyError, match="lifetime") as caught:
        run_study(again, Silent())
    assert caught.value.code == "privacy.overdrawn"


def test_one_and_two_workers_give_the_same_model_bit_for_bit(tmp_path, phantoms):
    vectors = []
    for workers in (1, 2):
        out = tmp_path / f"w{workers}"
        run(federation(out, workers=workers), phantoms)
        vectors.append(load_file(out / "model.safetensors"))
    assert vectors[0].keys() == vectors[1].keys()
    for name, tensor in vectors[0].items():
        assert np.array_equal(tensor, vectors[1][name])


def test_a_model_that_too_few_sites_accepted_is_not_released_and_the_report_says_so(tmp_path, phantoms):
    def deaf_to_cedar(leg, node, message_type, data):
        lost = leg == "reply" and node == FIRST_NODE + 2 and message_type.endswith(".result")
        return None if lost else data

    out = tmp_path / "out"
    small = {"rounds": 1, "study": "small"}
    run(federation(out, **small), phantoms)
    assert (out / "model.safetensors").is_file()
    report = run(federation(out, **small | {"study": "unaccepted"}), phantoms, wire=deaf_to_cedar)
    for name in ("model.safetensors", "release.json", "model_card.md"):
        assert not (out / name).exists()
        assert not (out / "studies" / "unaccepted" / name).exists()
        assert (out / "studies" / "small" / name).is_file()
    warnings = json.loads((out / "report.json").read_text())["warnings"]
    assert any("too few sites accepted it (alder, birch)" in warning for warning in warnings)
    assert "No model is released" in report.read_text()
