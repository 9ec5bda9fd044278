"""Who is enrolled, by the certificate that is shown: what the guard asks, and what Flower is told.

Rules:

* A certificate that was renewed counts beside the one before until it is used for the first time, or the one
  before has expired. Both lie in the site's folder, so a restart in between changes nothing.
* A site that joins again has its new certificate alone.
* Every certificate is in the audit log before the site gets it.

Not here: who may join (``enrolment``), who may renew (``renewal``).

Privacy: names and public keys of institutions.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography import x509

from wardround_common.audit import AuditLog, Certified, moment
from wardround_common.certificates import certificate_fingerprint, load_certificate
from wardround_common.files import write
from wardround_server.guard import Enrolled
from wardround_server.home import CERTIFICATE_FILE, NEXT_CERTIFICATE, CoordinatorHome


class Register:
    """The sites of one coordinator.

    Args:
        home: Its folder.
        audit: Its audit log.
        admit: Lets the owner of a node key connect to Flower, under a name.

    Attributes:
        sites: By the SHA-256 of their certificates.
    """

    def __init__(
        self, home: CoordinatorHome, audit: AuditLog, *, admit: Callable[[str, bytes], None]
    ) -> None:
        self._home = home
        self._audit = audit
        self._admit = admit
        self._next: dict[str, bytes] = {}
        self.sites: dict[bytes, Enrolled] = {}
        for folder in sorted((home.path / "sites").iterdir()):
            self._read(folder.name)

    def joined(self, name: str) -> None:
        """A site has joined, perhaps again.

        Raises:
            AuditError: It could not be written down.
        """
        (self._home.path / "sites" / name / NEXT_CERTIFICATE).unlink(missing_ok=True)
        self._audit.append(certified(name, self._home.certificate(name)))
        for old in [one for one, site in self.sites.items() if site.name == name]:
            del self.sites[old]
        self._next.pop(name, None)
        self._read(name)

    def renewed(self, site: Enrolled, certificate: bytes) -> None:
        """A site is about to get a new certificate, in PEM; one that it got before and did not use is void.

        Raises:
            AuditError, StorageError: It could not be written down.
        """
        made = load_certificate(certificate)
        self._audit.append(certified(site.name, made))
        write(self._home.path / "sites" / site.name / NEXT_CERTIFICATE, certificate)
        self.sites.pop(self._next.get(site.name, b""), None)
        fingerprint = certificate_fingerprint(made)
        self._next[site.name] = fingerprint
        self.sites[fingerprint] = site

    def used(self, fingerprint: bytes) -> None:
        """A certificate was shown: where it is a new one, the one before is void from now on."""
        site = self.sites.get(fingerprint)
        if site is None or self._next.get(site.name) != fingerprint:
            return
        folder = self._home.path / "sites" / site.name
        (folder / NEXT_CERTIFICATE).replace(folder / CERTIFICATE_FILE)
        del self._next[site.name]
        for old in [one for one, other in self.sites.items() if other.name == site.name]:
            if old != fingerprint:
                del self.sites[old]

    def _read(self, name: str) -> None:
        site = self._home.enrolled_site(name)
        self._admit(name, site.node_key)
        self.sites[certificate_fingerprint(self._home.certificate(name))] = site
        if (self._home.path / "sites" / name / NEXT_CERTIFICATE).is_file():
            self._next[name] = certificate_fingerprint(self._home.certificate(name, NEXT_CERTIFICATE))
            self.sites[self._next[name]] = site


def certified(name: str, certificate: x509.Certificate) -> Certified:
    """The row about a certificate."""
    return Certified(
        name=name,
        fingerprint=certificate_fingerprint(certificate),
        until=moment(certificate.not_valid_after_utc),
    )
