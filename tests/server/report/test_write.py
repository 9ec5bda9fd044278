"""The files of a report: complete, self-contained, harmless and the same every time."""

import copy
import re
import shutil
import subprocess

import msgspec
import numpy as np
import pytest
from pages import HOSTILE, checked
from safetensors import safe_open
from safetensors.numpy import load_file

from wardround_common.errors import PrivacyError, StorageError
from wardround_common.layout import Layout, TensorSpec
from wardround_server.report import Report, Results, write_model, write_model_card, write_report

REPORTS = ("report", "deployed", "bare", "generated", "generated_deployed", "strange")


@pytest.fixture(params=REPORTS)
def any_report(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("name", [name for name in REPORTS if name != "strange"])
def test_json_is_the_report(name, request, tmp_path):
    made = request.getfixturevalue(name)
    write_report(made, tmp_path)
    data = (tmp_path / "report.json").read_bytes()
    common = msgspec.json.decode(data, type=Report)
    assert msgspec.structs.replace(common, results=made.results) == made
    if made.results:
        assert msgspec.json.decode(data, type=type(made.results)) == made.results


def test_json_has_the_results_at_its_top_level(any_report, tmp_path):
    write_report(any_report, tmp_path)
    data = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    own = set(any_report.results.__struct_fields__) if any_report.results else set()
    assert set(data) == (set(Report.__struct_fields__) - {"results"}) | own
    assert not own & set(Report.__struct_fields__)


def test_page_needs_nothing_from_elsewhere_and_runs_nothing(any_report, tmp_path):
    page = write_report(any_report, tmp_path).read_text()
    checker = checked(page)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r'data:image/png;base64,[^"]*', "", page))
    assert not checker.names & {"script", "link", "iframe", "object"}
    assert all(target.startswith("#") for target in checker.targets)
    assert all(source.startswith("data:image/png;base64,") for source in checker.sources)


def test_every_link_of_the_contents_has_its_section(any_report, tmp_path):
    checker = checked(write_report(any_report, tmp_path).read_text())
    assert {target[1:] for target in checker.targets} <= set(checker.ids)
    assert len(checker.ids) == len(set(checker.ids))


def test_page_is_the_same_every_time(any_report, tmp_path):
    for name, made in (("a", any_report), ("b", copy.deepcopy(any_report))):
        write_report(made, tmp_path / name)
        write_model_card(made, tmp_path / name)
    for name in ("report.html", "report.json", "model_card.md"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_page_is_small(report, tmp_path):
    assert write_report(report, tmp_path).stat().st_size < 1_000_000


def test_hostile_words_stay_words(report, tmp_path):
    hostile = msgspec.structs.replace(
        report,
        plan=msgspec.structs.replace(report.plan, title=HOSTILE, purpose=HOSTILE, labels=(HOSTILE, HOSTILE)),
        created=HOSTILE,
        plan_text=HOSTILE,
        duplicates=HOSTILE,
        warnings=(HOSTILE,),
        traffic={HOSTILE: {HOSTILE: next(iter(report.traffic["alder"].values()))}},
        seconds={HOSTILE: 1.0},
        privacy=msgspec.structs.replace(report.privacy, sites={HOSTILE: report.privacy.sites["alder"]}),
        results=msgspec.structs.replace(
            report.results, evaluation=msgspec.structs.replace(report.results.evaluation, tested_on=HOSTILE)
        ),
        contact_sheets=(msgspec.structs.replace(report.contact_sheets[0], caption=HOSTILE, site=HOSTILE),),
        rounds=tuple(msgspec.structs.replace(entry, reason=HOSTILE) for entry in report.rounds),
        learning=tuple(msgspec.structs.replace(c, metric=HOSTILE, series=HOSTILE) for c in report.learning),
    )
    page = write_report(hostile, tmp_path).read_text()
    assert not checked(page).names & {"script"}
    assert "<script" not in page
    assert "7 * 7" in page
    card = write_model_card(hostile, tmp_path).read_text()
    _, head, body = card.split("---\n", 2)
    assert "<script" not in body.replace("\\<script", "")
    assert len(head.splitlines()) == len(
        write_model_card(report, tmp_path).read_text().split("---\n", 2)[1].splitlines()
    )


def test_deployment_says_what_it_does_not_show(deployed, tmp_path):
    page = write_report(deployed, tmp_path).read_text()
    assert "simulation only" not in page.split("</style>")[1]
    assert "What this report does not show" in page
    assert "about any one patient" in page


def test_simulation_marks_what_a_deployment_has_not(report, tmp_path):
    page = write_report(report, tmp_path).read_text()
    for name in ("learning", "images"):
        assert re.search(rf'<h2 id="{name}">.*simulation only, not private', page)


@pytest.mark.parametrize("part", ["learning", "data", "contact_sheets"])
def test_deployment_with_exact_figures_is_refused(report, deployed, part, tmp_path):
    leaky = msgspec.structs.replace(deployed, **{part: getattr(report, part)})
    with pytest.raises(PrivacyError, match=part):
        write_report(leaky, tmp_path)
    assert not list(tmp_path.iterdir())


class Careless(Results, frozen=True, kw_only=True):
    """Results of a task that does not say which of its fields are exact."""

    score: float = 0.0


def test_results_that_name_no_exact_field_are_for_simulations_only(deployed, report, tmp_path):
    leaky = msgspec.structs.replace(deployed, results=Careless(score=0.9))
    with pytest.raises(PrivacyError, match="score"):
        write_report(leaky, tmp_path)
    write_report(msgspec.structs.replace(report, results=Careless(score=0.9)), tmp_path)


def test_two_thousand_rounds_are_drawn_by_exception(report, tmp_path):
    rounds = tuple(
        msgspec.structs.replace(report.rounds[0], number=n, void=n == 1234) for n in range(1, 2001)
    )
    path = write_report(msgspec.structs.replace(report, rounds=rounds, learning=()), tmp_path)
    assert path.stat().st_size < 1_000_000
    assert "Of 2,000 rounds only those are drawn" in path.read_text()


def test_sheets_beyond_the_page_stay_in_the_data(report, tmp_path):
    big = msgspec.structs.replace(report.contact_sheets[0], png=bytes(1_500_000))
    page = write_report(msgspec.structs.replace(report, contact_sheets=(big, big, big)), tmp_path)
    assert page.stat().st_size < 3_000_000
    assert "2 further sheets in report.json" in page.read_text()


def test_nothing_half_written_is_left(report, tmp_path):
    (tmp_path / "report.json").mkdir()
    with pytest.raises(StorageError) as caught:
        write_report(report, tmp_path)
    assert caught.value.code == "report.cannot_write"
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_card_says_what_must_be_said(any_report, tmp_path):
    card = write_model_card(any_report, tmp_path).read_text()
    assert "Not for diagnosis" in card
    assert any_report.plan_digest in card
    stated = "about any one patient" in card
    assert stated == bool(any_report.privacy.sites)
    assert stated != ("treat this model as not private" in card)


def test_model_file_gives_the_tensors_back(tmp_path):
    layout = Layout(
        (
            TensorSpec(name="conv.weight", shape=(4, 1, 3, 3), init="uniform", fan_in=9),
            TensorSpec(name="head.bias", shape=(2,), init="zeros"),
        )
    )
    vector = np.random.default_rng(0).normal(size=layout.size).astype(np.float32)
    metadata = {"plan_digest": "ab" * 32, "model": "small", "rounds": "16", "study": "chest"}
    path = write_model(vector, layout, metadata=metadata, out=tmp_path)
    tensors = load_file(path)
    assert {name: tensor.shape for name, tensor in tensors.items()} == {
        "conv.weight": (4, 1, 3, 3),
        "head.bias": (2,),
    }
    assert np.array_equal(np.concatenate([tensors[s.name].ravel() for s in layout.tensors]), vector)
    with safe_open(path, framework="numpy") as opened:
        assert opened.metadata() == metadata
    first = path.read_bytes()
    assert (
        write_model(vector, layout, metadata=dict(reversed(metadata.items())), out=tmp_path).read_bytes()
        == first
    )


@pytest.mark.end_to_end
@pytest.mark.parametrize("width", [1280, 420])
def test_chromium_shows_the_page(any_report, width, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on the path: install chromium to see the page rendered")
    page = write_report(any_report, tmp_path / "out")
    quiet = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
    quiet += " disable-component-update disable-sync"
    command = [browser, *(f"--{flag}" for flag in quiet.split())]
    command += [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},3000"]
    picture = tmp_path / "page.png"
    subprocess.run(
        [*command, f"--screenshot={picture}", page.as_uri()], check=True, timeout=120, capture_output=True
    )
    assert picture.stat().st_size > 20_000
