"""An audit log as people and scripts read it.

Not here: verification (``check``).

Privacy: prints what the log holds: sizes, digests, codes, names and addresses of institutions, notes.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from wardround_common.audit.rows import (
    Certified,
    Entry,
    Happened,
    Opened,
    Refused,
    Sent,
    Taken,
    TurnedAway,
)
from wardround_common.identity import fingerprint

_COLUMNS: Final = "{:<23} {:<46} {:>11}  {:<16}  {:<14} {:>8}"
HEADER: Final = _COLUMNS.format("when", "what", "bytes", "digest", "round", "epsilon").rstrip()


class Totals(msgspec.Struct):
    """What left altogether, of the rows that were shown."""

    messages: int = 0
    size: int = 0
    refusals: int = 0
    turned_away: int = 0

    def add(self, entry: Entry) -> None:
        """Count a row."""
        if isinstance(entry, Sent):
            self.messages += 1
            self.size += entry.total
        elif isinstance(entry, Refused):
            self.refusals += 1
            self.size += entry.left
        elif isinstance(entry, TurnedAway):
            self.turned_away += entry.count

    def as_text(self) -> str:
        """One sentence."""
        said = f"{self.messages} messages were sent and {self.refusals} refused; {self.size} bytes left."
        return f"{said} The ports turned away {self.turned_away} times." if self.turned_away else said


def line(entry: Entry) -> str:
    """A row for people."""
    if isinstance(entry, Opened):
        return _line(entry.at, f"log of {entry.party}, key {fingerprint(entry.key)}")
    size = digest = ""
    if isinstance(entry, Sent | Taken):
        size, digest = str(entry.total), entry.digest.hex()[:16]
    elif isinstance(entry, Refused) and (entry.total or entry.left):
        size, digest = str(entry.left or entry.total), entry.digest.hex()[:16] if entry.total else ""
    number = f"{entry.round} {entry.kind}" if entry.round else ""
    attempt = f" /{entry.attempt}" if entry.attempt > 1 else ""
    epsilon = "" if entry.epsilon is None else f"{entry.epsilon:.4f}"
    return _line(entry.at, _what(entry), size, digest, number + attempt, epsilon)


def as_data(seq: int, entry: Entry) -> dict[str, Any]:
    """A row for scripts: what JSON can hold, digests in hex."""
    fields = msgspec.structs.asdict(entry)
    plain = {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
    return {"seq": seq, "what": entry.__struct_config__.tag} | plain


def _what(entry: Sent | Taken | Refused | TurnedAway | Certified | Happened) -> str:
    if isinstance(entry, Sent):
        return f"sent {_name(entry)} to {entry.peer}"
    if isinstance(entry, Taken):
        return f"took {_name(entry)} of {entry.peer}"
    if isinstance(entry, Refused):
        return f"refused {entry.message.upper() or 'what came'} of {entry.peer or 'somebody'}: {entry.code}"
    if isinstance(entry, TurnedAway):
        return _turned_away(entry)
    if isinstance(entry, Certified):
        return f"certified {entry.name} until {entry.until[:10]}: {entry.fingerprint.hex()[:16]}"
    what, why = entry.study or "everything", " ".join(part for part in (entry.code, entry.note) if part)
    words = {
        "approved": f"approved the plan of {what}",
        "refused": f"refused the plan of {what}: {why}",
        "opened": f"opened {what}",
        "paused": f"paused {what}: {why}",
        "settled": f"settled {what}: {why}",
        "resumed": f"resumed {what}: {why}",
        "stopped": f"stopped {what}: {why}",
        "round_ended": f"round ended: {entry.code or 'accepted, ' + ' '.join(entry.cohort)}",
    }
    return words[entry.event].removesuffix(": ")


def _turned_away(entry: TurnedAway) -> str:
    who = " at ".join(part for part in (entry.site, entry.address) if part)
    times = f", {entry.count} times" if entry.count > 1 else ""
    clock = f", clock {entry.seconds:+d} s" if entry.seconds else ""
    return f"turned away {who or 'others'}: {entry.code}{clock}{times}"


def _name(entry: Sent | Taken) -> str:
    array = " + vector" if entry.array_size else ""
    return entry.message.upper() + array + (", again" if entry.repeated else "")


def _line(at: str, what: str, *rest: str) -> str:
    cells = (*rest, "", "", "", "")[:4]
    return _COLUMNS.format(at[:-1].replace("T", " "), what, *cells).rstrip()
