"""The folder: who may read it, whether its keys fit together, and when its certificates end.

Privacy: reads private keys, and says whether they fit.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from wardround_client.doctor.finding import Finding, fail, ok, warn
from wardround_client.home import (
    CA,
    CARD,
    CONFIG,
    IDENTITY,
    NODE_KEY,
    PATIENTS,
    PEM_LIMIT_BYTES,
    TLS,
    SiteHome,
)
from wardround_common.authority import open_card
from wardround_common.authority.cards import CARD_LIMIT_BYTES
from wardround_common.certificates import load_certificate, load_key
from wardround_common.files import check_private, read
from wardround_common.identity import fingerprint

WARN_DAYS = 30
"""Before its end; the daemon has tried to renew the site's for months by then."""
RENEWED = "The daemon renews it over the line: keep it running, and look for renewal.failed in log.jsonl."
NOT_RENEWED = "Check the clock first. What has expired cannot be renewed over the line: ask the coordinator."
NEW_CA = "Ask the coordinator; a new CA means that every site joins anew."
_PRIVATE = (IDENTITY, TLS, NODE_KEY, PATIENTS)


def config(home: SiteHome) -> Iterator[Finding]:
    """``site.toml``."""
    said = home.config
    yield ok(CONFIG, f"{said.name}, coordinator at {said.host}:{said.port}")


def permissions(home: SiteHome) -> Iterator[Finding]:
    """Nobody else may read the folder and its private files."""
    for path in (home.path, *(home.path / name for name in _PRIVATE)):
        check_private(path)
    yield ok("permissions", "folder and keys are the owner's alone")


def site_key(home: SiteHome) -> Iterator[Finding]:
    """What is sealed here can be opened here, as far as the key goes."""
    _ = home.site_key
    yield ok("site key", "is there, and the owner's alone")


def identity(home: SiteHome) -> Iterator[Finding]:
    """The identity key is the one of the card that the authority has."""
    signer = home.signer
    card = open_card(read(home.path / CARD, limit_bytes=CARD_LIMIT_BYTES))
    if (card.name, card.key) != (signer.name, signer.key.public):
        remedy = f"Restore {IDENTITY}, {CARD} and {CONFIG} from one backup."
        yield fail("identity", f"the card is of {card.name}, with another key or name", remedy=remedy)
    else:
        yield ok("identity", fingerprint(signer.key.public))


def certificates(home: SiteHome, now: datetime.datetime) -> Iterator[Finding]:
    """The certificate is of this site's key, by the CA that is known here, and neither has ended."""
    mine, ca = (load_certificate(read(home.path / n, limit_bytes=PEM_LIMIT_BYTES)) for n in (TLS, CA))
    if wrong := _misfit(home, mine, ca):
        yield fail("certificate", wrong, remedy="Restore tls.pem and ca.pem from one backup.")
    yield _until("certificate", mine, now, soon=RENEWED, ended=NOT_RENEWED)
    yield _until("certificate of the coordinator's CA", ca, now, soon=NEW_CA, ended=NEW_CA)


def _misfit(home: SiteHome, mine: x509.Certificate, ca: x509.Certificate) -> str:
    key = load_key(home.private(TLS)).public_key()
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if mine.public_key().public_bytes(*form) != key.public_bytes(*form):
        return "it belongs to another key"
    names = [str(one.value) for one in mine.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [home.config.name]:
        return f"it is of {', '.join(names) or 'nobody'}"
    try:
        mine.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return "another CA issued it"
    return ""


def _until(
    subject: str, certificate: x509.Certificate, now: datetime.datetime, *, soon: str, ended: str
) -> Finding:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    days = (end - now).days
    if now < begin:
        said = f"valid from {begin:%Y-%m-%d %H:%M} UTC, which is not yet"
        return fail(subject, said, remedy="Check this machine's clock.")
    if now > end:
        return fail(subject, f"expired on {end:%Y-%m-%d}", remedy=ended)
    said = f"valid until {end:%Y-%m-%d}, {days} days left"
    if days <= WARN_DAYS:
        return warn(subject, said, remedy=soon)
    return ok(subject, said)
