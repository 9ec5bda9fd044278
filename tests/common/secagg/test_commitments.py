"""Commitments and transcripts: whatever they stand for changes them."""

from __future__ import annotations

import msgspec
import pytest

from wardround_common.messages import Confirm, Opened, RoundContext
from wardround_common.secagg import transcript
from wardround_common.secagg.commitments import ciphertext_digest, commit_seed, commit_share

SHARE = {"of": "seed", "dealer": "a", "holder": "b", "share": b"x" * 33}
CONTEXT = RoundContext(plan_digest=b"p" * 32, round=1, kind="train", attempt=1)


@pytest.mark.parametrize(
    "change", [{"of": "mask key"}, {"dealer": "c"}, {"holder": "c"}, {"share": b"y" * 33}]
)
def test_a_share_commitment_binds_what_whose_and_for_whom(change):
    assert commit_share(b"t" * 32, **SHARE) != commit_share(b"t" * 32, **{**SHARE, **change})


def test_commitments_bind_the_attempt():
    assert commit_share(b"t" * 32, **SHARE) != commit_share(b"u" * 32, **SHARE)
    assert commit_seed(b"t" * 32, dealer="a", seed=b"s" * 32) != commit_seed(
        b"u" * 32, dealer="a", seed=b"s" * 32
    )
    assert commit_seed(b"t" * 32, dealer="a", seed=b"s" * 32) != commit_seed(
        b"t" * 32, dealer="b", seed=b"s" * 32
    )


def test_names_cannot_be_moved_across_a_boundary():
    one = commit_share(b"t" * 32, of="seed", dealer="ab", holder="c", share=b"x" * 33)
    two = commit_share(b"t" * 32, of="seed", dealer="a", holder="bc", share=b"x" * 33)
    assert one != two


def test_a_ciphertext_digest_is_of_the_ciphertext():
    assert ciphertext_digest(b"a") != ciphertext_digest(b"b")


@pytest.mark.parametrize(
    "change", [{"plan_digest": b"q" * 32}, {"round": 2}, {"kind": "evaluate"}, {"attempt": 2}]
)
def test_the_first_transcript_binds_the_attempt(change):
    other = msgspec.structs.replace(CONTEXT, **change)
    args = {"roster": b"r" * 32, "state": b"s" * 32}
    assert transcript.t0(CONTEXT, **args) != transcript.t0(other, **args)


def test_the_first_transcript_binds_roster_and_state():
    found = {
        transcript.t0(CONTEXT, roster=roster, state=state)
        for roster, state in ((b"r" * 32, b"s" * 32), (b"q" * 32, b"s" * 32), (b"r" * 32, b"t" * 32))
    }
    assert len(found) == 3


def test_later_transcripts_bind_every_message_by_site_whatever_the_order_of_arrival():
    def messages(**data):
        return {name: Opened(name, CONTEXT, Confirm(), value) for name, value in data.items()}

    for extend in (transcript.t1, transcript.t2, transcript.t3):
        base = extend(b"t" * 32, messages(a=b"1", b=b"2"))
        assert base == extend(b"t" * 32, messages(b=b"2", a=b"1"))
        for other in (
            messages(a=b"1"),
            messages(a=b"1", b=b"3"),
            messages(a=b"2", b=b"1"),
            messages(a=b"12"),
        ):
            assert base != extend(b"t" * 32, other)
        assert base != extend(b"u" * 32, messages(a=b"1", b=b"2"))
    same = messages(a=b"1")
    assert len({extend(b"t" * 32, same) for extend in (transcript.t1, transcript.t2, transcript.t3)}) == 3
