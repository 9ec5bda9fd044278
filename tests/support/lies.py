"""The tables of lies that a coordinator tells, and the stage that they are told on.

``LIES``: by name, the error code that a lie must end in and its story. ``AGAIN``: lies that meet a check of
``LIES`` at another place, or after a longer story. ``lies_about_*`` fill them.
"""

from __future__ import annotations

import msgspec
from hospitals import SECRETS, Hospitals

from wardround_common.canonical import decode
from wardround_common.messages import (
    NO_TRANSCRIPT,
    Abandon,
    Envelope,
    Packet,
    Signer,
)
from wardround_common.trust import COORDINATOR

LIES, AGAIN = {}, {}


def lie(code, table=LIES):
    """Adds a story to a table; it returns the act that a site must refuse with ``code``."""

    def add(story):
        assert story.__name__ not in LIES | AGAIN
        table[story.__name__] = (code, story)
        return story

    return add


def covers(packet):
    return msgspec.msgpack.decode(packet.envelope)[7]


def body_of(packet, kind):
    return decode(decode(packet.envelope, Envelope, limit_bytes=1 << 26).body, kind, limit_bytes=1 << 26)


class Stage:
    """Where a lie is told: ``world`` has sessions in memory, ``hospitals`` whole sites on disk."""

    def __init__(self, world, make_record, folder):
        self.world, self.make_record, self.folder = world, make_record, folder
        self._open = []

    def hospitals(self, n=4, **options):
        self._open.append(Hospitals(self.folder / "homes", n, **options))
        return self._open[-1]

    def close(self):
        for one in self._open:
            one.close()


def abandon(play):

    signer = Signer(COORDINATOR, SECRETS.key(COORDINATOR))
    return Packet(play.terms.wire.seal(Abandon(), transcript=NO_TRANSCRIPT, signer=signer))
