"""Every key and secret of a simulation, derived from its seed.

The authority, the lead, the coordinator and every site are played with these keys, through the production
code. No deployed program can be configured with a seed: only constructors of the simulation take these.

Privacy: whoever knows the seed can remove every mask and all noise, and open every sealed file; a report of a
simulation says so.
"""

from __future__ import annotations

from collections.abc import Callable

from wardround_client.sealing import SiteKey
from wardround_common.canonical import digest
from wardround_common.identity import SigningKey
from wardround_common.streams import Stream, derive


class Secrets:
    """All keys and secrets that follow from one seed."""

    def __init__(self, seed: int) -> None:
        self._root = digest("simulation", seed.to_bytes(8, "big"))

    def key(self, role: str) -> SigningKey:
        """The identity key of ``authority``, ``lead``, ``coordinator`` or a site."""
        return SigningKey.from_seed(derive(self._root, "identity", role))

    def site_secret(self, site: str) -> bytes:
        """The secret under which a site hashes patient numbers."""
        return derive(self._root, "patients", site)

    def site_key(self, site: str) -> SiteKey:
        """What a site's data folder is sealed under."""
        return SiteKey(derive(self._root, "site key", site))

    def baselines(self) -> bytes:
        """The secret that the models for comparison draw from."""
        return derive(self._root, "baselines")

    def round_secret(self, site: str, plan: bytes, number: int, kind: str) -> bytes:
        """The secret of a round at a site, 32 bytes."""
        return derive(self._root, "round", site, plan, number, kind)

    def ledger_id(self, site: str) -> bytes:
        """What marks a site's ledger as one of a simulation."""
        return derive(self._root, "ledger", site)

    def entropy(self, site: str, study: bytes) -> Callable[[int], bytes]:
        """A source of bytes for a site's one-attempt keys."""
        return Stream(derive(self._root, "entropy", site, study)).bytes
