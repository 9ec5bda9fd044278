"""The coordinator's durable memory: what it was told, written down before anything follows from it.

``Journal`` is one study; ``AttemptLog`` the attempt that is under way. A coordinator that is started again
reads the journal, takes the recorded replies once more, and so stands where it stood.

Privacy: signed messages, masked vectors until their round closes, states; see ``study``.
"""

from wardround_server.journal.attempts import AttemptLog, AttemptRow, Recorded
from wardround_server.journal.database import Hook, corrupt
from wardround_server.journal.study import Ended, Journal, RoundRow, Voice

__all__ = [
    "AttemptLog",
    "AttemptRow",
    "Ended",
    "Hook",
    "Journal",
    "Recorded",
    "RoundRow",
    "Voice",
    "corrupt",
]
