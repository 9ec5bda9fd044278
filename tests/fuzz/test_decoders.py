"""Whatever bytes arrive, only our own errors come out, and memory stays near the size limit.

``conftest`` lists the decoders and how their input is broken. A quick look at each is part of the unit tests;
``make test-all`` goes on for ``FUZZ_SECONDS`` (300).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import tracemalloc

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from mutations import LENGTHS, elements, header

from wardround_common.canonical import decode
from wardround_common.errors import ProtocolError, WardroundError

FUZZ_SECONDS = float(os.environ.get("FUZZ_SECONDS", "300"))
MULTIPLE = 24
"""Bytes of memory per byte of the limit: the cheapest element has two bytes and takes a pointer twice."""
SLACK_BYTES = 1 << 16
UNHURRIED = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)


def fuzz(target, *, examples, **more):
    """Returns how many inputs were accepted and refused."""
    outcomes = [0, 0]

    @settings(max_examples=examples, deadline=None, suppress_health_check=UNHURRIED, **more)
    @given(data=target.broken)
    def check(data):
        try:
            target.receive(data)
        except WardroundError:
            outcomes[1] += 1
        else:
            outcomes[0] += 1

    check()
    return outcomes


def test_broken_input_is_refused_in_our_own_words(target):
    _, refused = fuzz(target, examples=60)
    assert refused > 0


def test_a_decoder_that_lets_a_foreign_error_out_is_noticed(targets):
    careless = dataclasses.replace(targets["body-hello"], receive=msgspec.msgpack.decode)
    with pytest.raises((msgspec.DecodeError, BaseExceptionGroup)):
        fuzz(careless, examples=200, database=None)


@pytest.mark.statistical
def test_broken_input_is_refused_for_minutes_on_end(targets):
    end, accepted, refused = time.monotonic() + FUZZ_SECONDS, 0, 0
    while time.monotonic() < end:
        for target in targets.values():
            more, fewer = fuzz(target, examples=200, database=None)
            accepted, refused = accepted + more, refused + fewer
            if time.monotonic() >= end:
                break
    print(f"{accepted + refused} inputs in {FUZZ_SECONDS:g} s, {accepted} of them accepted")
    assert refused > accepted


def peak_bytes(data, kind, limit_bytes):
    """The most memory that decoding takes beyond the input, whether it is refused or not."""
    tracemalloc.start()
    try:
        with contextlib.suppress(ProtocolError):
            decode(data, kind, limit_bytes=limit_bytes)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def bombs(data):
    """``data`` with every header replaced by one that declares far more than there is."""
    for e in elements(data):
        for kind in ("array", "map", "bin", "str", "ext"):
            for length in LENGTHS[-4:]:
                head = header(kind, length)
                yield data[: e.start] + head + data[e.payload :]
                yield data[: e.start] + head
                yield data[: e.start] + head + bytes(64)


def test_a_declared_length_beyond_the_input_takes_no_memory(bounded):
    data, kind, limit = bounded
    for bomb in bombs(data):
        if len(bomb) <= limit:
            assert peak_bytes(bomb, kind, limit) < 4 * len(bomb) + SLACK_BYTES


@pytest.mark.parametrize(
    "cheap",
    [
        b"\xc0",
        b"\x00",
        b"\xc4\x00",
        b"\xc4\x01a",
        b"\xc4\x02ab",
        b"\xa1a",
        b"\xa2ab",
        b"\x90",
        b"\x80",
        b"\x91",
    ],
)
def test_input_that_fills_the_limit_with_the_cheapest_elements_takes_a_small_multiple_of_it(bounded, cheap):
    data, kind, limit = bounded
    for e in [e for e in elements(data) if e.kind in ("array", "map", "bin", "str")][:12]:
        count = max(1, (limit - e.start - 5) // len(cheap))
        for head in (header("array", count), header("map", count // 2)):
            filled = data[: e.start] + head + cheap * count
            assert peak_bytes(filled[:limit], kind, limit) < MULTIPLE * limit + SLACK_BYTES


def test_input_longer_than_the_limit_is_not_looked_at(bounded):
    _, kind, limit = bounded
    assert peak_bytes(bytes(limit + 1), kind, limit) < SLACK_BYTES
