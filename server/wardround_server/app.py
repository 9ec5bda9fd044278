"""The coordinator's ServerApp: packets to Flower messages and back.

The only module of this package that knows Flower.

Rules:

* ``Grid.send_and_receive`` is not used: it collects every reply before it returns and sleeps three seconds
  between looks. Replies are pulled one by one, so that a masked upload is added and forgotten.
* A grid that raises ``TransportError`` has forgotten what it was given: it is sent again to whoever did not
  answer yet. Sites give the same answer to the same request.
* A reply is matched by the message it answers, never by the node it claims to come from.

Privacy: sees packets, which are signed end to end; adds nothing to them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

from wardround_common.errors import TransportError
from wardround_common.messages import Packet
from wardround_common.secagg.ring import from_bytes, to_bytes
from wardround_server.transport import Reply, Transport

FLOWERS_CODES = {3: "transport.lost", 4: "transport.lost", 5: "transport.unavailable"}
"""What Flower says of a message that is gone, of a reply that is, and of a node that is."""
AWAY_S = 0.5
"""Between two looks whether the service, or a node, is back."""
ABSENT_S = 30.0
"""How long a node that a service which was started anew has not seen yet is waited for."""


def make_server_app(job: Callable[[Transport], None], *, poll_s: float = 0.25) -> ServerApp:
    """A ServerApp whose main function runs ``job`` over Flower's Grid.

    Args:
        job: The study to run.
        poll_s: Pause between two looks for replies; 0 where the grid itself waits.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        job(FlowerTransport(grid, poll_s=poll_s))

    return app


class FlowerTransport:
    """``Transport`` over a Flower ``Grid``."""

    def __init__(self, grid: Grid, *, poll_s: float) -> None:
        self._grid = grid
        self._poll_s = poll_s

    def nodes(self) -> Sequence[int]:
        """The nodes that Flower knows, in ascending order; none while the service is away."""
        try:
            return sorted(self._grid.get_node_ids())
        except TransportError:
            return []

    def exchange(self, name: str, packets: Mapping[int, Packet], *, timeout_s: float) -> Iterator[Reply]:
        """One request to each node, replies as they arrive (``Transport.exchange``)."""
        start = time.monotonic()
        open_, waiting = dict(packets), dict[str, int]()
        while open_ and (seconds := time.monotonic() - start) < timeout_s:
            arrived = False
            try:
                away = open_.keys() - waiting.values()
                waiting |= self._push(name, {node: open_[node] for node in open_ if node in away})
                for message in self._grid.pull_messages(list(waiting)) if waiting else ():
                    arrived, node = True, waiting.pop(message.metadata.reply_to_message_id, None)
                    if node is not None:
                        del open_[node]
                        yield _reply(node, message, seconds=time.monotonic() - start)
            except TransportError:  # whatever was on its way is lost
                waiting = {}
                time.sleep(AWAY_S)
                continue
            if seconds > ABSENT_S:
                for node in open_.keys() - waiting.values():
                    del open_[node]
                    yield Reply(node=node, packet=None, code="transport.unavailable", seconds=seconds)
            if not arrived:
                time.sleep(self._poll_s if waiting else AWAY_S)
        for node in open_:
            yield Reply(node=node, packet=None, code="transport.timeout", seconds=seconds)

    def _push(self, name: str, packets: Mapping[int, Packet]) -> dict[str, int]:
        """Send requests; returns the nodes by the messages, without those that are not there."""
        if not packets:
            return {}
        records = {id(packet): _to_record(packet) for packet in packets.values()}  # most are one object
        messages = [Message(records[id(packet)], node, f"query.{name}") for node, packet in packets.items()]
        sent = zip(self._grid.push_messages(messages), packets, strict=True)
        return {identifier: node for identifier, node in sent if identifier}


def _reply(node: int, message: Message, *, seconds: float) -> Reply:
    if message.has_error():
        code = FLOWERS_CODES.get(message.error.code) or _printable(message.error.reason)
        return Reply(node=node, packet=None, code=code, seconds=seconds)
    packet = _to_packet(message.content)
    code = "" if packet else "message.malformed"
    return Reply(node=node, packet=packet, code=code, seconds=seconds)


def _printable(reason: str | None) -> str:
    """A site's error code; it arrives unsigned, so it is cut to the form of a code."""
    code = (reason or "")[:60]
    return code if code.replace(".", "").replace("_", "").isalnum() else "site.unknown"


def _to_record(packet: Packet) -> RecordDict:
    record = RecordDict({"packet": ConfigRecord({"envelope": packet.envelope})})
    if packet.array is not None:
        name, data = packet.array.dtype.name, to_bytes(packet.array).tobytes()
        array = Array(dtype=name, shape=packet.array.shape, stype="raw", data=data)
        record["arrays"] = ArrayRecord({"ring": array})
    return record


def _to_packet(record: RecordDict) -> Packet | None:
    """The packet in a Flower record, or None where it holds anything else."""
    config, arrays = record.config_records.get("packet"), record.array_records.get("arrays")
    envelope = None if config is None else config.get("envelope")
    ring = None if arrays is None else arrays.get("ring")
    if not isinstance(envelope, bytes) or len(record) != 1 + (ring is not None):
        return None
    if ring is None:
        return Packet(envelope, None)
    words = from_bytes(ring.data, type_name=ring.dtype)
    return Packet(envelope, words) if words is not None and tuple(ring.shape) == words.shape else None
