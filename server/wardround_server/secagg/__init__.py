"""Secure aggregation at the coordinator: collects, adds, takes the masks off the sum.

Privacy: sees masked vectors, shares of one-attempt secrets, and the sum.
"""

from wardround_server.secagg.abandoning import FailedAttempt
from wardround_server.secagg.session import CoordinatorSession

__all__ = ["CoordinatorSession", "FailedAttempt"]
