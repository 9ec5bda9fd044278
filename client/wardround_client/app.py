"""The site's ClientApp: Flower messages in, packets to the guard, Flower messages out.

The only module of this package that knows Flower. Stock SuperNodes, app bundles and ``Context.state`` are
not used: a site never executes code that somebody sent, and its state lies in its own databases.

Rules: what the guard cannot write into its audit log does not leave, not even as an error: ``AuditError``
ends the handling, and whoever runs this app sends nothing.

Privacy: an error leaves as its code and nothing else.

References: ARCHITECTURE.md, "Flower at the edge".
"""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from wardround_common.errors import AuditError, WardroundError
from wardround_common.messages import EXCHANGES, Packet
from wardround_common.secagg.ring import from_bytes, to_bytes

CLIENT_APP_RAISED = 2


def make_client_app(handle: Callable[[Packet | None], Packet]) -> ClientApp:
    """A ClientApp that answers each of the six exchanges with ``handle``.

    Args:
        handle: The site's guard: a request packet in (None: something else came), the reply packet out; its
            ``WardroundError``s are sent as their code, but for ``AuditError``.
    """
    app = ClientApp()

    def answer(message: Message, context: Context) -> Message:
        try:
            return Message(_to_record(handle(_to_packet(message.content))), reply_to=message)
        except AuditError:
            raise
        except WardroundError as error:
            return Message(Error(CLIENT_APP_RAISED, error.code), reply_to=message)

    for exchange in EXCHANGES:
        app.query(exchange)(answer)
    return app


def _to_record(packet: Packet) -> RecordDict:
    record = RecordDict({"packet": ConfigRecord({"envelope": packet.envelope})})
    if packet.array is not None:
        name, data = packet.array.dtype.name, to_bytes(packet.array).tobytes()
        array = Array(dtype=name, shape=packet.array.shape, stype="raw", data=data)
        record["arrays"] = ArrayRecord({"ring": array})
    return record


def _to_packet(record: RecordDict) -> Packet | None:
    """The packet in a Flower record, which anybody may have made; None where it holds anything else."""
    config = record.config_records.get("packet")
    envelope = None if config is None else config.get("envelope")
    arrays = record.array_records.get("arrays")
    ring = None if arrays is None else arrays.get("ring")
    known = len(record) == (1 if arrays is None else 2) and (arrays is None or set(arrays) == {"ring"})
    words = None if ring is None else from_bytes(ring.data, type_name=ring.dtype)
    shaped = ring is None or (words is not None and tuple(ring.shape) == words.shape)
    if not isinstance(envelope, bytes) or not known or not shaped:
        return None
    return Packet(envelope, words)
