"""What the rounds need of a network: one request to each node, replies as they arrive.

Not here: Flower (``app``), what a packet means (``rounds``).

Privacy: carries packets; sees sizes and times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from wardround_common.messages import Packet

BROKEN_DOWN = frozenset(("site.crashed", "trainer.crashed", "trainer.out_of_memory"))
"""The codes of a site that broke down over a request."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What came back from one node.

    Attributes:
        node: The transport's name of the node; it proves nothing about who answered.
        packet: The reply, or None where there is none.
        code: Why there is none: an error code of the site, or ``transport.*``.
        seconds: From the request to the reply.
    """

    node: int
    packet: Packet | None
    code: str = ""
    seconds: float = 0.0

    @property
    def silent(self) -> bool:
        """Whether the site did not answer at all, or broke down over it: it may answer if asked again."""
        return self.packet is None and (self.code.startswith("transport.") or self.code in BROKEN_DOWN)


class Transport(Protocol):
    """Nodes, and exchanges with them."""

    def nodes(self) -> Sequence[int]:
        """The nodes that are there now, in ascending order."""
        ...

    def exchange(self, name: str, packets: Mapping[int, Packet], *, timeout_s: float) -> Iterator[Reply]:
        """Send each node its packet and yield one ``Reply`` per node as replies arrive.

        Nodes that are silent until the deadline yield a reply with code ``transport.timeout``.
        """
        ...
