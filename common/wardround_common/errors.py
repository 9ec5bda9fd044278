"""The one tree of errors: the class says who must act, ``remedy`` says what to do.

Rules:

* ``message`` states expected and got, ``remedy`` is one sentence in the imperative that a command line
  prints as it is, ``code`` is stable, short and safe to send (``secagg.cohort_too_small``).
* No value taken from a patient's file enters ``message`` or ``remedy``: no name, id, date, path of a scan.
* Foreign exceptions are translated where the foreign function is called.

Privacy: ``code`` may leave a site; ``message`` and ``remedy`` stay in its own log.
"""

from __future__ import annotations


class WardroundError(Exception):
    """Base of all errors that Wardround raises on purpose.

    Args:
        message: What was expected and what was found.
        remedy: One sentence: what the reader should do now.
        code: Stable identifier, ``area.what``, without spaces.
        retryable: True where trying the same again later may work.
    """

    def __init__(self, message: str, *, remedy: str, code: str, retryable: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.code = code
        self.retryable = retryable

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.remedy, self.code, self.retryable)


def _rebuild(
    kind: type[WardroundError], message: str, remedy: str, code: str, retryable: bool
) -> WardroundError:
    return kind(message, remedy=remedy, code=code, retryable=retryable)


class ConfigError(WardroundError):
    """A plan, scenario or configuration is wrong: its author must change it."""


class ConsentError(WardroundError):
    """Nobody at the site approved this, or the approval does not cover it."""


class PrivacyError(WardroundError):
    """It would cost more privacy than was promised: the plan or the limit must change."""


class IngestError(WardroundError):
    """A folder, label table or catalogue cannot be used: the site's data manager must act."""


class ProtocolError(WardroundError):
    """A message is malformed, unsigned, out of order or from the wrong sender."""


class SecAggError(ProtocolError):
    """Secure aggregation refused to go on: somebody lied, or too many sites are missing."""


class TransportError(WardroundError):
    """A peer could not be reached in time."""


class StorageError(WardroundError):
    """A database or file of ours cannot be read or written."""


class AuditError(StorageError):
    """What happens cannot be written down: nothing happens, and nothing leaves, until it can."""


class TrainerError(WardroundError):
    """The process that trains broke down: the site's machine needs attention."""
