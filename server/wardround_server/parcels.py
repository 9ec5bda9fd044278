"""Parcels at the coordinator: Flower answers, and the objects go with its request or its answer.

Stands between ``holding`` and Flower. A request is Flower's to check and to answer, node authentication
included; what is stored or handed out beside it is what Flower's answer names, and nothing else.

Not here: the form of a parcel (``wardround_common.parcels``), Flower's store (``superlink``).

Rules: a request that is no parcel passes as it is, and so does an answer that is no success.

Privacy: as ``superlink``; keeps nothing, logs codes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wardround_common.errors import ProtocolError
from wardround_common.logs import event
from wardround_common.parcels import MEDIA_TYPE, Parcel, pack, unpack

FLOWERS_TYPE = b"application/protobuf"


class Store(Protocol):
    """What Flower keeps of messages in transit, for one of its APIs."""

    def collect(self, answer: bytes) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """The objects of the messages in Flower's answer to a pull, and the messages that are complete.

        What is returned is confirmed: whoever pulled need not say that it has come.
        """
        ...

    def store(self, request: bytes, answer: bytes, objects: Mapping[str, bytes]) -> tuple[str, ...]:
        """Store the objects that Flower's answer to a push asks for; returns those that are stored."""
        ...


class ParcelPort:
    """The answering end of parcels.

    Args:
        app: Flower's.
        store: Its objects.
    """

    def __init__(self, app: ASGIApp, store: Store) -> None:
        self._app = app
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or open and close a parcel around it."""
        headers = dict(scope.get("headers", ()))
        wanted = MEDIA_TYPE.encode()
        if headers.get(b"content-type") == wanted:
            await self._push(scope, receive, send)
        elif headers.get(b"accept") == wanted:
            await self._pull(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _push(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            parcel = await asyncio.to_thread(unpack, await read_body(receive))
        except ProtocolError as error:
            event("parcel.refused", code=error.code)
            await _send(send, [_head(HTTPStatus.BAD_REQUEST, ()), _body(b"")])
            return
        answer = await self._ask(scope, parcel.flower)
        if _succeeded(answer):
            content = _content(answer)
            stored = await asyncio.to_thread(self._store.store, parcel.flower, content, parcel.objects)
            answer = _closed(answer, Parcel(content, {}, stored))
        await _send(send, answer)

    async def _pull(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._ask(scope, await read_body(receive))
        if _succeeded(answer) and (content := _content(answer)):
            objects, confirmed = await asyncio.to_thread(self._store.collect, content)
            answer = _closed(answer, Parcel(content, objects, confirmed))
        await _send(send, answer)

    async def _ask(self, scope: Scope, body: bytes) -> list[Message]:
        """Flower's answer to its own request."""
        replaced = (b"content-type", b"content-length", b"accept")
        headers = [(name, value) for name, value in scope["headers"] if name not in replaced]
        headers += [(b"content-type", FLOWERS_TYPE), (b"accept", FLOWERS_TYPE)]
        headers.append((b"content-length", str(len(body)).encode()))
        return await ask(self._app, {**scope, "headers": headers}, body)


async def ask(app: ASGIApp, scope: Scope, body: bytes) -> list[Message]:
    """What an application answers to a request with this body."""
    answer: list[Message] = []
    given = asyncio.Event()

    async def receive() -> Message:
        if given.is_set():
            await asyncio.Event().wait()  # nobody disconnects: whoever asked is waited for elsewhere
        given.set()
        return {"type": "http.request", "body": body, "more_body": False}

    async def keep(message: Message) -> None:
        answer.append(message)

    await app({**scope, "state": dict(scope.get("state", {}))}, receive, keep)
    return answer


async def read_body(receive: Receive) -> bytes:
    """The body of a request, whose length the guard has limited."""
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _succeeded(answer: Sequence[Message]) -> bool:
    return bool(answer[0]["status"] == HTTPStatus.OK)


def _content(answer: Sequence[Message]) -> bytes:
    return b"".join(message.get("body", b"") for message in answer[1:])


def _closed(answer: Sequence[Message], parcel: Parcel) -> list[Message]:
    """The answer with a parcel for a body."""
    replaced = (b"content-type", b"content-length")
    headers = [(name, value) for name, value in answer[0]["headers"] if name not in replaced]
    body = pack(parcel)
    return [_head(HTTPStatus.OK, [*headers, (b"content-type", MEDIA_TYPE.encode())], len(body)), _body(body)]


def _head(status: HTTPStatus, headers: Sequence[tuple[bytes, bytes]], length: int = 0) -> Message:
    all_headers = [*headers, (b"content-length", str(length).encode())]
    return {"type": "http.response.start", "status": int(status), "headers": all_headers}


def _body(content: bytes) -> Message:
    return {"type": "http.response.body", "body": content}


async def _send(send: Send, answer: Sequence[Message]) -> None:
    for message in answer:
        await send(message)
