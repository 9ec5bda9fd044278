"""An error on its way from one process of a party to another: data in, the same error out.

Not here: what another party is told, which is a code and nothing else.

Privacy: as ``errors``; stays on the machine.
"""

from __future__ import annotations

from msgspec import Struct

from wardround_common import errors
from wardround_common.errors import WardroundError


class Problem(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An error as data."""

    kind: str
    """Class of the error, by its name in ``errors``."""
    message: str
    remedy: str
    code: str
    retryable: bool = False

    @classmethod
    def of(cls, error: WardroundError) -> Problem:
        """An error as data."""
        return cls(
            kind=type(error).__name__,
            message=error.message,
            remedy=error.remedy,
            code=error.code,
            retryable=error.retryable,
        )

    def error(self) -> WardroundError:
        """The error that it was."""
        kind = getattr(errors, self.kind, WardroundError)
        if not (isinstance(kind, type) and issubclass(kind, WardroundError)):
            kind = WardroundError
        return kind(self.message, remedy=self.remedy, code=self.code, retryable=self.retryable)
