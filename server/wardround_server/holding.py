"""Requests for messages are held open until there is one: a round's latency is not polling.

``Holding`` stands between a guard and Flower. Where Flower answers that there is nothing, the request waits
until the other side has sent something, and is asked again; after a while the answer is "nothing" after all.

Rules:

* Nothing is kept or changed: Flower gets the request that came, and its answer leaves as it is.
* Whoever waits costs no processor time: a bell wakes, not a clock.

Not here: who may ask (``guard``).

Privacy: sees bodies of requests for messages, which name a node; logs nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wardround_server.guard import CERTIFICATE
from wardround_server.parcels import ask, read_body

SITE_HOLD_S: Final = 5.0
"""A daemon that is told to stop waits for its last request."""
JOB_HOLD_S: Final = 1.0
MOST_HELD: Final = 16
"""Requests of one site that are held at a time; more are answered at once. A daemon has one."""


class Bell:
    """Wakes those who wait for the other side to send something."""

    def __init__(self) -> None:
        self.rung = 0
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake everybody."""
        self.rung += 1
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, seen: int, *, timeout_s: float) -> bool:
        """Whether the bell rang after it had rung ``seen`` times."""
        if self.rung == seen:
            try:
                await asyncio.wait_for(self._event.wait(), timeout_s)
            except TimeoutError:
                return False
        return True


class Holding:
    """Holds requests of one side.

    Args:
        app: Flower's.
        pull: Path of the requests that are held.
        push: Prefix of the paths by which this side sends.
        heard: Rings when the other side sent something.
        told: Is rung when this side did.
        hold_s: How long a request is held at most.
    """

    def __init__(self, app: ASGIApp, *, pull: str, push: str, heard: Bell, told: Bell, hold_s: float) -> None:
        self._app = app
        self._pull, self._push = pull, push
        self._heard, self._told = heard, told
        self._hold_s = hold_s
        self._waiting: Counter[bytes] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or hold it."""
        if scope["type"] == "http" and scope["path"] == self._pull:
            await self._held(scope, receive, send)
            return
        await self._app(scope, receive, send)
        if scope["type"] == "http" and scope["path"].startswith(self._push):
            self._told.ring()

    async def _held(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, peer = await read_body(receive), scope.get(CERTIFICATE, b"")
        self._waiting[peer] += 1
        try:
            answer = await self._answer(
                scope, body, self._hold_s if self._waiting[peer] <= MOST_HELD else 0.0
            )
        finally:
            self._waiting[peer] -= 1
        for message in answer:
            await send(message)

    async def _answer(self, scope: Scope, body: bytes, hold_s: float) -> list[Message]:
        """What Flower answers as soon as that is something, or after ``hold_s``."""
        deadline = time.monotonic() + hold_s
        while True:
            seen = self._heard.rung
            answer = await ask(self._app, scope, body)
            left = deadline - time.monotonic()
            if not _is_empty(answer) or left <= 0 or not await self._heard.wait(seen, timeout_s=left):
                return answer


def _is_empty(answer: list[Message]) -> bool:
    """Whether Flower says that there is nothing: a success without a body."""
    succeeded = any(message.get("status") == 200 for message in answer)
    return succeeded and not any(message.get("body") for message in answer)
