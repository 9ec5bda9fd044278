"""What was looked at, and what to do about it.

Privacy: see the package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from msgspec import Struct

from wardround_common.errors import WardroundError

Verdict = Literal["ok", "warn", "FAIL"]


class Finding(Struct, frozen=True, kw_only=True):
    """One line of the examination."""

    subject: str
    verdict: Verdict
    said: str
    remedy: str = ""

    @property
    def line(self) -> str:
        """For people."""
        remedy = f". {self.remedy}" if self.remedy else ""
        return f"{self.verdict:<4}  {self.subject}: {self.said}{remedy}"


def ok(subject: str, said: str) -> Finding:
    """Nothing to do."""
    return Finding(subject=subject, verdict="ok", said=said)


def warn(subject: str, said: str, *, remedy: str) -> Finding:
    """It works, and somebody should know."""
    return Finding(subject=subject, verdict="warn", said=said, remedy=remedy)


def fail(subject: str, said: str, *, remedy: str) -> Finding:
    """It does not work."""
    return Finding(subject=subject, verdict="FAIL", said=said, remedy=remedy)


def looked(subject: str, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """What a look finds; what it stumbles over is a finding too."""
    try:
        return list(look())
    except WardroundError as error:
        return [fail(subject, error.message, remedy=error.remedy)]
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        said = f"{error.strerror or type(error).__name__}{where}"
        return [fail(subject, said, remedy="Check that the site's folder is whole, and who owns its files.")]
