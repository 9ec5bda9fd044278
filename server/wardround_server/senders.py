"""Who a message says that it is from: each site speaks for its own node alone.

Stands between parcels and Flower. Flower checks who sends a request, and not whom the messages in it name as
their sender; and it keeps the first reply to a message, so that one in the name of another site would push
out that site's own.

Not here: who may send (``guard``), how Flower numbers nodes (``superlink``), whether a site said so (its
signature, in the job).

Rules: a request without a node key is Flower's to refuse.

Privacy: as ``superlink``; keeps nothing.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from wardround_server.guard import NODE_KEY_HEADER, answer
from wardround_server.parcels import ask, read_body

PATH: Final = "/v1/fleet/push-messages"
FORGED: Final = "guard.forged_sender"


class Senders:
    """Refuses messages in another's name.

    Args:
        app: Flower's.
        objection: Why a request to push is not for Flower, from its body and the node key: a code, or empty.
    """

    def __init__(self, app: ASGIApp, objection: Callable[[bytes, bytes], str]) -> None:
        self._app = app
        self._objection = objection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        node_key = dict(scope.get("headers", ())).get(NODE_KEY_HEADER)
        if scope["type"] != "http" or scope["path"] != PATH or node_key is None:
            await self._app(scope, receive, send)
            return
        body = await read_body(receive)
        code = await asyncio.to_thread(self._objection, body, base64.b64decode(node_key))
        if code:
            await answer(send, HTTPStatus.FORBIDDEN, code.encode(), code=code)
            return
        for message in await ask(self._app, scope, body):
            await send(message)
