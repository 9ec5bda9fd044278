"""What an imaging-IT person would ask of a site, answered one line each.

``finding`` says what an answer is; ``files``, ``line``, ``books``, ``plans`` and ``machine`` look.

Rules:

* Looks, and changes nothing: no file is made, no spend, no message to a guard. The daemon may be running.
* One thing that is wrong keeps nothing else from being looked at, an unreachable coordinator included.

Privacy: findings hold names, dates, codes and sizes; to the coordinator goes one request without content,
over the line that the daemon uses.
"""

from wardround_client.doctor.examine import examine
from wardround_client.doctor.finding import Finding

__all__ = ["Finding", "examine"]
