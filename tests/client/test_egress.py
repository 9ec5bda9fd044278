"""What leaves a site is in its audit log first: production sites on disk, messages one at a time."""

from __future__ import annotations

import hashlib
import resource
import sqlite3
from contextlib import contextmanager

import pytest
from audits import contents
from hospitals import EXCHANGES, SECRETS, Hospitals

from wardround_client.site import open_ledger
from wardround_common.audit import Happened, Opened, Refused, Sent, verify
from wardround_common.errors import AuditError, ConsentError, PrivacyError, ProtocolError
from wardround_common.messages import NO_TRANSCRIPT, Abandon, Packet, Signer
from wardround_common.secagg.ring import vector_digest
from wardround_common.trust import COORDINATOR, plan_digest

SITE = "birch"


@pytest.fixture
def h(tmp_path):
    hospitals = Hospitals(tmp_path / "homes", 3, rounds=5)
    yield hospitals
    hospitals.close()


def log_of(h, *, sort=None, name=SITE):
    entries = contents(h.home / name / "audit.sqlite", key=SECRETS.key(name).public)
    return [entry for entry in entries if sort is None or isinstance(entry, sort)]


def refused(call):
    with pytest.raises((ProtocolError, ConsentError, PrivacyError)) as caught:
        call()
    return caught.value.code


@contextmanager
def read_only_log(h, name=SITE):
    """The disk takes nothing more for this one file."""
    connection = h.sites[name]._egress._log._file._connection
    connection.execute("PRAGMA query_only = ON")
    try:
        yield
    finally:
        connection.execute("PRAGMA query_only = OFF")


@contextmanager
def no_file_grows():
    """No file of this process can be written beyond its first page: what a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_every_reply_of_a_round_is_in_the_log_with_its_size_and_digests(h):
    play, replies = h.session(1), []
    for _, reply in EXCHANGES:
        play.until(reply)
        replies.append((reply, play.replies[SITE]))
    rows = log_of(h, sort=Sent)
    assert len(rows) == len(replies) == 6
    for row, (reply, packet) in zip(rows, replies, strict=True):
        assert (row.message, row.peer) == (reply, COORDINATOR)
        assert (row.study, row.plan) == ("test", plan_digest(h.plan))
        assert (row.round, row.kind, row.attempt) == (1, "train", 1)
        assert (row.size, row.digest) == (len(packet.envelope), hashlib.sha256(packet.envelope).digest())
        array = packet.array
        assert row.array_size == (0 if array is None else array.nbytes)
        assert row.array_digest == (b"" if array is None else vector_digest(array))
        assert not row.repeated


def test_epsilon_is_what_the_ledger_says_after_the_rounds_spend(h):
    found = []
    for number in (1, 2):
        play = h.session(number).until("accept")
        play.close()
        ledger = open_ledger(h.home / SITE, policy=h.policy, simulation_id=SECRETS.ledger_id(SITE))
        found += [ledger.epsilon_spent("test").largest] * 6
        ledger.shut()
    assert [row.epsilon for row in log_of(h, sort=Sent)] == found
    assert 0 < found[0] < found[-1]


def test_a_reply_that_is_sent_again_is_a_row_again(h):
    play = h.session(1).until("masked")
    first = h.sites[SITE].handle(play.requests[SITE])
    rows = log_of(h, sort=Sent)
    assert [row.repeated for row in rows] == [False, False, False, True]
    assert rows[-1].digest == rows[-2].digest == hashlib.sha256(first.envelope).digest()
    play.until("confirm")
    h.restart(SITE)
    h.sites[SITE].handle(play.requests[SITE])
    assert [row.repeated for row in log_of(h, sort=Sent)][-2:] == [False, True]


def test_a_refusal_is_in_the_log_with_what_came_and_what_left(h):
    play = h.session(1)
    start = play.ask("start")[SITE]
    envelope = start.envelope[:-1] + bytes([start.envelope[-1] ^ 1])
    code = refused(lambda: h.sites[SITE].handle(Packet(envelope)))
    (row,) = log_of(h, sort=Refused)
    assert (row.code, row.left) == (code, len(code)) == ("identity.bad_signature", 22)
    assert (row.message, row.round, row.study) == ("start", 1, "test")
    assert (row.size, row.digest) == (len(envelope), hashlib.sha256(envelope).digest())


def test_what_cannot_be_read_is_refused_in_the_log_too(h):
    assert refused(lambda: h.sites[SITE].handle(Packet(b"nonsense"))) == "message.malformed"
    assert refused(lambda: h.sites[SITE].handle(None)) == "message.malformed"
    rows = log_of(h, sort=Refused)
    assert [(row.code, row.size, row.message, row.study) for row in rows] == [
        ("message.malformed", 8, "", ""),
        ("message.malformed", 0, "", ""),
    ]
    h.session(1).until("accept")


def test_what_is_no_packet_does_not_make_a_site_forget_its_reply(h):
    play = h.session(1).until("hello")
    assert refused(lambda: h.sites[SITE].handle(None)) == "message.malformed"
    assert h.sites[SITE].handle(play.requests[SITE]).envelope == play.replies[SITE].envelope


def test_a_refusal_for_a_plan_that_was_never_approved_names_its_digest(tmp_path, h):
    other = Hospitals(tmp_path / "others", 3, rounds=2)
    packet = other.session(1).ask("start")[SITE]
    other.close()
    assert refused(lambda: h.sites[SITE].handle(packet)) == "consent.not_approved"
    (row,) = log_of(h, sort=Refused)
    assert (row.study, row.plan, row.epsilon) == ("", plan_digest(other.plan), None)


def test_approvals_pauses_and_what_settles_them_are_in_the_log(h):
    for number in (1, 2):
        h.session(number).until("masked")
    start = h.session(3).ask("start")[SITE]
    for _ in range(2):
        assert refused(lambda: h.sites[SITE].handle(start)) == "secagg.two_void_rounds"
    for site in h.sites.values():
        site.settle(h.plan, "The coordinator's\ndisk was full.")
    for number in (3, 4):
        h.session(number).until("masked")
    start = h.session(5).ask("start")[SITE]
    assert refused(lambda: h.sites[SITE].handle(start)) == "secagg.two_void_rounds"
    happened = [(row.event, row.code, row.note) for row in log_of(h, sort=Happened)]
    assert happened == [
        ("approved", "", ""),
        ("paused", "secagg.two_void_rounds", ""),
        ("settled", "", "The coordinator's disk was full."),
        ("paused", "secagg.two_void_rounds", ""),
    ]
    assert len(log_of(h, sort=Refused)) == 3


def test_an_abort_is_in_the_log(h):
    play = h.session(1).until("masked")
    request = play.terms.wire.seal(
        Abandon(), transcript=NO_TRANSCRIPT, signer=Signer(COORDINATOR, SECRETS.key(COORDINATOR))
    )
    reply = h.sites[SITE].handle(Packet(request))
    row = log_of(h, sort=Sent)[-1]
    assert (row.message, row.exchange) == ("abort", "abandon")
    assert row.digest == hashlib.sha256(reply.envelope).digest()


@pytest.mark.parametrize("reply", [reply for _, reply in EXCHANGES])
def test_no_reply_leaves_that_the_log_does_not_take_and_it_leaves_later(h, reply):
    play = h.session(1)
    done = [name for _, name in EXCHANGES].index(reply)
    if done:
        play.until(EXCHANGES[done - 1][1])
    request = play.ask(EXCHANGES[done][0])[SITE]
    rows = len(log_of(h))
    with read_only_log(h), pytest.raises(AuditError) as caught:
        h.sites[SITE].handle(request)
    assert caught.value.code == "audit.unusable"
    assert len(log_of(h)) == rows
    late = h.sites[SITE].handle(request)
    assert log_of(h)[-1].digest == hashlib.sha256(late.envelope).digest()
    assert h.tasks[SITE].rounds == 1


def test_no_error_code_leaves_that_the_log_does_not_take(h):
    for request in (Packet(b"nonsense"), None):
        with read_only_log(h), pytest.raises(AuditError):
            h.sites[SITE].handle(request)
    assert log_of(h, sort=Refused) == []


def test_nothing_leaves_when_the_disk_is_full(h):
    play = h.session(1).until("deal")
    again = play.requests[SITE]
    with no_file_grows(), pytest.raises(AuditError) as caught:
        h.sites[SITE].handle(again)
    assert caught.value.code in {"audit.unusable", "audit.head_file"}
    h.sites[SITE].handle(again)
    with no_file_grows(), pytest.raises(AuditError):
        h.sites[SITE].handle(Packet(b"nonsense"))
    assert verify(h.home / SITE / "audit.sqlite", SECRETS.key(SITE).public).good


def test_no_plan_is_in_force_and_no_pause_ends_that_the_log_does_not_take(h):
    for number in (1, 2):
        h.session(number).until("masked")
    start = h.session(3).ask("start")[SITE]
    with read_only_log(h), pytest.raises(AuditError):
        h.sites[SITE].settle(h.plan, "Never written.")
    assert refused(lambda: h.sites[SITE].handle(start)) == "secagg.two_void_rounds"


def test_a_site_whose_log_is_older_than_its_head_file_does_not_start(h):
    path = h.home / SITE / "audit.sqlite"
    h.sites[SITE].close()
    copy = path.read_bytes()
    h.sites[SITE] = h._open(SITE)
    h.session(1).until("hello")
    h.sites[SITE].close()
    path.write_bytes(copy)
    with pytest.raises(AuditError) as caught:
        h._open(SITE)
    assert caught.value.code == "audit.rolled_back"
    (h.home / SITE / "scratch" / "audit.head").unlink()
    h.sites[SITE] = h._open(SITE)


def test_the_log_is_the_sites_own(h):
    h.session(1).until("hello")
    first = log_of(h)[0]
    assert isinstance(first, Opened)
    assert (first.party, first.key) == (SITE, SECRETS.key(SITE).public)
    path = h.home / SITE / "audit.sqlite"
    assert path.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
