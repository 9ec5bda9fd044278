"""Decoders crash, hang and eat memory; ingest does not."""

import dataclasses
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from wardround_client.ingest import isolation, limits
from wardround_client.ingest.acceptance import PixelFormat
from wardround_client.ingest.decoder_messages import READY, Reply, receive, send
from wardround_client.ingest.isolation import Decoder
from wardround_client.ingest.reasons import Refusal
from wardround_common.errors import IngestError

FORM = PixelFormat(
    rows=4, columns=8, bits_allocated=8, bits_stored=8, signed=False, inverted=False, spacing_mm=(1.0, 1.0)
)
HEADER = struct.pack("<16L", 1, 64, *[0] * 14)
PIXELS = encapsulate([HEADER + b"\xe1\x07"])  # 32 times the value 7


def code(decoder, pixels=PIXELS, form=FORM):
    with pytest.raises(Refusal) as caught:
        decoder.decode(pixels, RLELossless, form)
    return caught.value.code


@pytest.fixture
def acting(monkeypatch):
    """A decoder process that runs some code in place of ours."""

    def start(script, **options):
        monkeypatch.setattr(isolation, "_COMMAND", (sys.executable, "-c", script))
        return Decoder(**options)

    return start


def say(reply):
    """Code of a process that gives one answer whatever it is asked."""
    return (
        "import sys; from wardround_client.ingest.decoder_messages import *\n"
        "sys.stdout.buffer.write(READY); sys.stdout.buffer.flush()\n"
        f"receive(sys.stdin.buffer, limit_bytes=2**20); {reply}; sys.stdout.buffer.flush()"
    )


def test_a_frame_is_decoded(decoder):
    stored = decoder.decode(PIXELS, RLELossless, FORM)
    assert stored.shape == (4, 8)
    assert (stored == 7).all()


def test_a_crash_costs_one_image_and_the_next_one_is_decoded():
    with Decoder() as decoder:
        decoder.decode(PIXELS, RLELossless, FORM)
        os.kill(decoder._process.pid, 9)
        assert code(decoder) == "pixels.decoder_crashed"
        assert (decoder.decode(PIXELS, RLELossless, FORM) == 7).all()


def test_a_decoder_that_hangs_is_stopped(acting):
    script = "import sys, time; sys.stdout.write('ready\\n'); sys.stdout.flush(); time.sleep(60)"
    begin = time.monotonic()
    with acting(script, timeout_s=0.3) as decoder:
        assert code(decoder) == "pixels.decoder_crashed"
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize(
    "reply",
    [
        "sys.stdout.buffer.write(b'nonsense and more')",
        "sys.stdout.buffer.write(bytes([255] * 8))",
        "send(sys.stdout.buffer, Reply(dtype='|u1', pixels=bytes(31)))",
        "send(sys.stdout.buffer, Reply(dtype='<f8', pixels=bytes(256)))",
        "pass",
    ],
)
def test_a_reply_that_does_not_fit_is_refused(acting, reply):
    with acting(say(reply)) as decoder:
        assert code(decoder) == "pixels.decoder_crashed"


@pytest.mark.parametrize(
    "reply", ["Reply(dtype='|u1', pixels=bytes(32))", "Reply(dtype='|i1', pixels=bytes(96))"]
)
def test_a_reply_that_is_no_colour_image_is_refused(acting, reply):
    form = dataclasses.replace(FORM, photometric="RGB", samples=3)
    with acting(say(f"send(sys.stdout.buffer, {reply})")) as decoder:
        assert code(decoder, form=form) == "pixels.decoder_crashed"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_the_process_is_limited(decoder):
    decoder.decode(PIXELS, RLELossless, FORM)
    lines = Path(f"/proc/{decoder._process.pid}/limits").read_text().splitlines()
    assert str(limits.DECODER_MEMORY_BYTES) in next(
        line for line in lines if line.startswith("Max address space")
    )


@pytest.mark.parametrize("script", ["", "print('hello')", "raise SystemExit(1)"])
def test_a_process_that_does_not_start_is_one_clear_error(acting, script):
    with acting(script) as decoder, pytest.raises(IngestError) as caught:
        decoder.decode(PIXELS, RLELossless, FORM)
    assert caught.value.code == "ingest.decoder_start"


def test_the_process_ends_with_its_input():
    process = subprocess.Popen(isolation._COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.read(len(READY)) == READY
    process.stdin.close()
    assert process.wait(10) == 0
    process.stdout.close()


def test_messages_come_through_pipes_as_they_were_sent(tmp_path):
    path = tmp_path / "pipe"
    reply = Reply(dtype="<u2", pixels=np.arange(9, dtype="<u2").tobytes())
    with path.open("wb") as file:
        send(file, reply)
    with path.open("rb") as file:
        assert reply.pixels in receive(file, limit_bytes=1000)
        assert receive(file, limit_bytes=1000) == b""
    with path.open("rb") as file, pytest.raises(ValueError, match="at most"):
        receive(file, limit_bytes=3)
