"""What several studies cost the same patients: shown one by one, never added up."""

import re

import pytest
from msgspec.structs import replace
from pages import section

from wardround_server.report import Lifetime, Privacy, StudySpend, words, write_report

FIRST = StudySpend(study="lungs", task="classification", epsilon=2.0, delta=1e-5)
SECOND = StudySpend(study="chest", task="generation", epsilon=3.0, delta=1e-5)


@pytest.fixture
def spent(report, tmp_path):
    def written(**changes):
        site = report.privacy.sites["alder"]
        sites = {name: replace(site, **changes) for name in ("alder", "birch")}
        page = write_report(replace(report, privacy=Privacy(sites=sites)), tmp_path).read_text()
        return section(page, "budget")

    return written


def cells(text):
    return re.findall(r'<td class="n">([^<]*)</td>', text.partition("every study so far")[2])


def test_every_study_and_the_ledgers_total_are_shown(spent):
    text = spent(studies=(FIRST, SECOND), lifetime=Lifetime(epsilon=3.914, delta=1e-5, limit=8.0))
    assert "<td>lungs</td><td>classification</td>" in text
    assert "chest <small>this study</small></td><td>generation</td>" in text
    assert cells(text) == ["2.00", "1e−5", "3.00", "1e−5", "3.92", "1e−5"]
    assert "limit of the site 8" in text


def test_epsilons_are_not_added_up(spent):
    text = spent(studies=(FIRST, SECOND))
    assert "not added up" in text
    assert "5.00" not in text


def test_a_lifetime_is_shown_for_a_first_study_too(spent):
    text = spent(studies=(SECOND,), lifetime=Lifetime(epsilon=3.0, delta=1e-5, limit=8.0))
    assert cells(text) == ["3.00", "1e−5", "3.00", "1e−5"]
    assert "limit of the site 8" in text
    assert "by the ledger" in spent(lifetime=Lifetime(epsilon=3.0, delta=1e-5, limit=8.0))


def test_a_single_study_without_a_lifetime_needs_no_history(spent):
    assert "every study so far" not in spent(studies=(SECOND,))
    assert "every study so far" not in spent()


def test_sites_with_one_history_share_its_rows(report):
    site = replace(report.privacy.sites["alder"], studies=(FIRST, SECOND))
    other = replace(site, studies=(SECOND, FIRST))
    privacy = Privacy(sites={"alder": site, "birch": other, "cedar": site})
    found = words.by_study(replace(report, privacy=privacy))
    assert [names for names, _ in found] == ["alder and cedar", "birch"]


def test_only_sides_that_spent_have_a_column(spent):
    assert "Validation patients" in spent(by_side={"train": 1.0, "validation": 2.0})
    assert "Test patients" not in spent(by_side={"train": 1.0, "validation": 2.0})
    assert "Test patients" in spent(by_side={})
