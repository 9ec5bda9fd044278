"""A site that comes anew gets what it was given before and did not answer.

Stands between the guard and Flower. Flower hands a message out once, and lets nobody in whose earlier life
has not yet been silent for long enough. A daemon that was killed comes back within seconds, and what it was
working on would be lost.

Not here: who may come (``guard``; Flower checks the node key's signature), how a site answers twice the same.

Rules:

* One daemon per site: whoever comes with a site's certificate and node key is that site, and its earlier
  life is over.
* Only messages without an answer are handed out again.

Privacy: as ``superlink``.
"""

from __future__ import annotations

import base64
from http import HTTPStatus
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from wardround_server.guard import NODE_KEY_HEADER
from wardround_server.parcels import ask, read_body

PATH = "/v1/fleet/activate-node"
_NOT_THIS_SITE = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class Nodes(Protocol):
    """What Flower knows of nodes."""

    def release(self, node_key: bytes) -> None:
        """End the earlier life of a node."""
        ...

    def redeliver(self, node_key: bytes) -> None:
        """Hand out again what a node was given and did not answer."""
        ...


class Arrivals:
    """Lets a site come anew.

    Args:
        app: Flower's, or what stands before it.
        nodes: Flower's nodes.
    """

    def __init__(self, app: ASGIApp, nodes: Nodes) -> None:
        self._app = app
        self._nodes = nodes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; one of a site that comes, twice if need be."""
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._app(scope, receive, send)
            return
        body = await read_body(receive)
        node_key = base64.b64decode(dict(scope["headers"])[NODE_KEY_HEADER])
        answer = await ask(self._app, scope, body)
        if answer[0]["status"] not in (HTTPStatus.OK, *_NOT_THIS_SITE):
            self._nodes.release(node_key)
            answer = await ask(self._app, scope, body)
        if answer[0]["status"] == HTTPStatus.OK:
            self._nodes.redeliver(node_key)
        for message in answer:
            await send(message)
