"""What the ports refuse is counted, and a flood costs rows by the minute."""

from __future__ import annotations

import threading
import time

import pytest
from served import until

from wardround_common.audit import AuditLog, TurnedAway, verify
from wardround_common.errors import AuditError
from wardround_common.identity import SigningKey
from wardround_common.messages import Signer
from wardround_server.refusals import STRANGERS, Refusals

EVERY_S = 0.2


@pytest.fixture
def signer():
    return Signer("coordinator", SigningKey.generate())


@pytest.fixture
def log(tmp_path, signer):
    log = AuditLog(tmp_path / "audit.sqlite", signer=signer)
    yield log
    log.close()


def rows(log):
    return [row for row in log.newest(1000) if isinstance(row, TurnedAway)]


def counts(log):
    return [(row.code, row.site, row.address, row.count) for row in rows(log)]


def test_the_first_refusal_is_a_row_at_once_and_a_flood_is_one_more(log):
    refusals = Refusals(log, every_s=3600)
    refusals.note("guard.flood", site="alder", address="192.0.2.7")
    until(lambda: rows(log))
    for _ in range(5000):
        refusals.note("guard.flood", site="alder", address="192.0.2.7")
    refusals.close()
    first, rest = counts(log)
    assert first == ("guard.flood", "alder", "192.0.2.7", 1)
    assert rest == ("guard.flood", "alder", "192.0.2.7", 5000)


def test_what_goes_on_is_a_row_now_and_then_with_the_number_since(log):
    refusals = Refusals(log, every_s=EVERY_S)
    noted = 0
    while len(rows(log)) < 4:
        refusals.note("guard.clock", site="alder", seconds=600)
        noted += 1
        time.sleep(0.001)
    refusals.close()
    assert sum(row.count for row in rows(log)) == noted
    assert len(rows(log)) <= 5
    assert {row.seconds for row in rows(log)} == {600}


def test_codes_sites_and_addresses_are_counted_apart(log):
    refusals = Refusals(log, every_s=3600)
    for code, site, address in [
        *[("guard.flood", "alder", "192.0.2.7")] * 2,
        ("guard.flood", "birch", "192.0.2.7"),
        ("guard.path", "alder", "192.0.2.7"),
        ("guard.path", "", "192.0.2.8"),
        ("guard.path", "", "192.0.2.9"),
    ]:
        refusals.note(code, site=site, address=address)
    refusals.close()
    assert len({row[:3] for row in counts(log)}) == 5


def test_strangers_beyond_the_table_are_counted_together_and_sites_are_not(log):
    refusals = Refusals(log, every_s=3600)
    for number in range(10_000):
        refusals.note("tls.plain_http", address=f"2001:db8::{number:x}")
    refusals.note("guard.flood", site="alder", address="192.0.2.7")
    refusals.close()
    assert len({row[:3] for row in counts(log)}) == STRANGERS + 2
    assert sum(row.count for row in rows(log)) == 10_001
    assert sum(row.count for row in rows(log) if not row.site and not row.address) == 10_000 - STRANGERS
    assert ("guard.flood", "alder", "192.0.2.7", 1) in counts(log)


def test_the_table_has_room_again_when_strangers_stay_away(log):
    refusals = Refusals(log, every_s=EVERY_S)
    for number in range(STRANGERS):
        refusals.note("tls.plain_http", address=f"192.0.2.{number}")
    until(lambda: not refusals._counts)
    refusals.note("tls.plain_http", address="198.51.100.1")
    refusals.close()
    assert counts(log)[-1] == ("tls.plain_http", "", "198.51.100.1", 1)


def test_what_strangers_claim_reaches_the_log_in_the_form_of_a_row_only(log, tmp_path, signer):
    refusals = Refusals(log, every_s=3600)
    refusals.note("no code; \x1b[2J", site="Alder\n", address="<script>", seconds=10**12)
    refusals.close()
    (row,) = rows(log)
    assert (row.code, row.site, row.address, row.seconds) == ("unknown", "", "", 2**31 - 1)
    assert verify(tmp_path / "audit.sqlite", signer.key.public).good


class Full:
    """A log whose disk is full at first."""

    def __init__(self, log):
        self._log = log
        self.full = threading.Event()
        self.full.set()
        self.tried = 0

    def append(self, *entries):
        if entries and self.full.is_set():
            self.tried += 1
            raise AuditError("full", remedy="Make room.", code="audit.unusable")
        self._log.append(*entries)


def test_what_could_not_be_written_is_written_later(log):
    full = Full(log)
    refusals = Refusals(full, every_s=EVERY_S)
    refusals.note("guard.path", site="alder")
    until(lambda: full.tried)
    refusals.note("guard.path", site="alder")
    full.full.clear()
    until(lambda: rows(log))
    refusals.close()
    assert sum(row.count for row in rows(log)) == 2


def test_taking_note_does_not_wait_for_the_log(log):
    refusals = Refusals(log, every_s=3600)
    with log._file.lock:  # somebody else is writing
        refusals.note("guard.path", site="alder")
        refusals.note("guard.path", site="birch")
    refusals.close()
    assert len(rows(log)) == 2
