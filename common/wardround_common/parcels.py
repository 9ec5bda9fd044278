"""A message and its parts in one request: Flower alone takes a request for each part.

Flower cuts a message into objects, and moves each with a request of its own: some twenty for one exchange
with one site. A parcel carries Flower's request or answer with the objects beside it. What is asked and
answered stays Flower's; an object that did not come in a parcel is moved as Flower moves it.

``Parcels`` is the asking end: an interceptor of Flower's HTTP clients. The answering end is
``wardround_server.parcels``.

Not here: Flower, whose messages the caller makes (common does not know Flower).

Rules:

* A parcel holds at most ``ROOM_BYTES`` of objects.
* What came in a parcel is answered from there, also for two messages that share a part, until the next pull.

Privacy: moves what is moved anyway; keeps nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final, Protocol

import httpx
from msgspec import Meta, Struct

from wardround_common.canonical import decode, encode

MEDIA_TYPE: Final = "application/vnd.wardround.parcel"
ROOM_BYTES: Final = 12 << 20
LIMIT_BYTES: Final = 16 << 20
MOST_OBJECTS: Final = 4096


class Parcel(Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """Flower's own request or answer, and objects beside it."""

    flower: bytes
    objects: Annotated[dict[str, bytes], Meta(max_length=MOST_OBJECTS)] = {}
    """By identifier. From whoever sends messages, or to whoever pulls them."""
    done: Annotated[tuple[str, ...], Meta(max_length=MOST_OBJECTS)] = ()
    """To whoever sent messages: which objects are stored. To whoever pulls: which messages are confirmed."""


def pack(parcel: Parcel) -> bytes:
    """The bytes of a parcel."""
    return encode(parcel)


def unpack(data: bytes) -> Parcel:
    """The parcel in these bytes.

    Raises:
        ProtocolError: ``message.*``.
    """
    return decode(data, Parcel, limit_bytes=LIMIT_BYTES)


def that_fit(objects: Mapping[str, bytes]) -> dict[str, bytes]:
    """Objects, in order, as far as there is room."""
    room, found = ROOM_BYTES, dict[str, bytes]()
    for name, content in objects.items():
        if len(content) <= room and len(found) < MOST_OBJECTS:
            room -= len(content)
            found[name] = content
    return found


class Call(Protocol):
    """What Flower's interceptors see of a call."""

    @property
    def rpc_method(self) -> str:
        """The end of it is the name of the call."""
        ...

    @property
    def message(self) -> Any:  # noqa: ANN401 - Flower's request
        """Flower's request."""
        ...

    @property
    def request(self) -> httpx.Request:
        """The request that would be sent."""
        ...


Next = Callable[[Any], httpx.Response]


class Parcels:
    """Interceptor of a Flower client; the last one, so that it sees the request as it is sent.

    Args:
        found: Flower's answer to who asks for an object: from its content, its bytes.
        stored: Flower's answer to who sent an object, in bytes.

    Attributes:
        done: Objects of the last message that arrived with it; or messages that need not be confirmed.
    """

    def __init__(self, *, found: Callable[[bytes], bytes], stored: bytes) -> None:
        self._found = found
        self._stored = stored
        self._here: dict[str, bytes] = {}
        self.done: frozenset[str] = frozenset()
        self._carried: Mapping[str, bytes] = {}

    @contextlib.contextmanager
    def carrying(self, objects: Mapping[str, bytes]) -> Iterator[None]:
        """What is sent in the block goes with these objects."""
        self._carried = that_fit(objects)
        try:
            yield
        finally:
            self._carried, self.done = {}, frozenset()

    def intercept(self, context: Call, call_next: Next) -> httpx.Response:
        """Send a call as a parcel, or answer it from one."""
        match context.rpc_method.rsplit("/", 1)[-1]:
            case "PullMessages":
                return self._pull(context, call_next)
            case "PushMessages" if self._carried:
                return self._push(context, call_next)
            case "PullObject" if (name := context.message.object_id) in self._here:
                return _answer(context, self._found(self._here[name]))
            case "PushObject" if context.message.object_id in self.done:
                return _answer(context, self._stored)
            case "ConfirmMessageReceived" if context.message.message_object_id in self.done:
                return _answer(context, b"")
        return call_next(context)

    def _pull(self, context: Call, call_next: Next) -> httpx.Response:
        self._here, self.done = {}, frozenset()
        context.request.headers["accept"] = MEDIA_TYPE
        return self._opened(context, call_next(context))

    def _push(self, context: Call, call_next: Next) -> httpx.Response:
        request = context.request
        headers = request.headers.copy()
        del headers["content-length"]
        headers["content-type"] = headers["accept"] = MEDIA_TYPE
        body = pack(Parcel(request.content, dict(self._carried)))
        sent = httpx.Request(
            request.method, request.url, headers=headers, content=body, extensions=request.extensions
        )
        return self._opened(context, call_next(dataclasses.replace(context, request=sent)))  # type: ignore[type-var]

    def _opened(self, context: Call, response: httpx.Response) -> httpx.Response:
        """Flower's answer, once what came beside it is put aside."""
        if response.headers.get("content-type") != MEDIA_TYPE:
            return response
        parcel = unpack(response.content)
        self._here, self.done = dict(parcel.objects), frozenset(parcel.done)
        return _answer(context, parcel.flower)


def _answer(context: Call, body: bytes) -> httpx.Response:
    return httpx.Response(httpx.codes.OK, content=body, request=context.request)
