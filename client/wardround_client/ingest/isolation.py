"""Keep the decoder process running, and notice when a file killed it.

Not here: what the process does (``decoder_process``).

Rules:

* It is started when the first compressed image comes, and again after a crash.
* A frame that takes too long ends it like a crash does.
* Its reply is checked like anything that comes from outside.

Privacy: it is handed pixels and their format only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from types import TracebackType
from typing import Self

import msgspec
import numpy as np

from wardround_client.ingest import limits
from wardround_client.ingest.acceptance import PixelFormat
from wardround_client.ingest.decoder_messages import READY, Reply, Request, receive, send
from wardround_client.ingest.intensity import Stored
from wardround_client.ingest.reasons import Refusal
from wardround_common.errors import IngestError

_COMMAND = (sys.executable, "-P", "-m", "wardround_client.ingest.decoder_process")
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_HEADER_BYTES = 1024


class Decoder:
    """A decoder process, started on demand; close it, or use it as a context."""

    def __init__(self, *, timeout_s: float = limits.DECODE_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process:
            process.kill()
            process.communicate()

    def decode(self, pixels: bytes, syntax: str, form: PixelFormat) -> Stored:
        """Stored values of an encapsulated frame, rows by columns; of a colour image, by red, green, blue.

        Args:
            pixels: The value of Pixel Data.
            syntax: Transfer syntax UID, an encapsulated one.
            form: What the attributes say.

        Raises:
            Refusal: No decoder can read it, or one crashed or took too long.
            IngestError: The process cannot be started.
        """
        request = Request(
            syntax=str(syntax),  # a plain one: pydicom has a subclass
            rows=form.rows,
            columns=form.columns,
            bits_allocated=form.bits_allocated,
            bits_stored=form.bits_stored,
            signed=form.signed,
            samples=form.samples,
            photometric=form.photometric,
            pixels=pixels,
        )
        reply = self._ask(request)
        if not reply.pixels:
            raise Refusal("pixels.undecodable", "PixelData")
        if reply.dtype not in ("|i1", "|u1", "<i2", "<u2", "<i4", "<u4"):
            raise Refusal("pixels.decoder_crashed", "PixelData")
        stored = np.frombuffer(reply.pixels, reply.dtype)
        if stored.size != form.rows * form.columns * form.samples:
            raise Refusal("pixels.decoder_crashed", "PixelData")
        if form.samples == 1:
            return stored.reshape(form.rows, form.columns)
        if reply.dtype != "|u1":
            raise Refusal("pixels.decoder_crashed", "PixelData")
        return stored.reshape(form.rows, form.columns, form.samples)

    def _ask(self, request: Request) -> Reply:
        process = self._process = self._process or _start()
        assert process.stdin  # both are pipes
        assert process.stdout
        timer = threading.Timer(self._timeout_s, process.kill)
        timer.start()
        try:
            send(process.stdin, request)
            data = receive(process.stdout, limit_bytes=limits.MAX_DECODED_BYTES * 4 + _HEADER_BYTES)
            if data:
                return msgspec.msgpack.decode(data, type=Reply)
        except (OSError, ValueError, msgspec.DecodeError):
            pass  # it died while it was talked to, or talks nonsense
        finally:
            timer.cancel()
        self.close()
        raise Refusal("pixels.decoder_crashed", "PixelData")


def _start() -> subprocess.Popen[bytes]:
    try:
        process = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | _ONE_THREAD,
        )
        if process.stdout and process.stdout.read(len(READY)) == READY:
            return process
        process.kill()
        process.communicate()
    except OSError:
        pass
    raise IngestError(
        "the process that decodes compressed images does not start",
        remedy="Reinstall Wardround with its 'site' extra, and check that memory is not used up.",
        code="ingest.decoder_start",
    )
