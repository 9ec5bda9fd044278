"""X.509 certificates for TLS: the coordinator's CA, its server certificate, the certificates of sites.

A certificate opens a connection and says nothing about identity: every payload is signed with an identity
key that the authority's roster names.

Rules:

* Private keys are made where they are used; a request carries the public half.
* Whoever certifies takes the public key from a request, and nothing else that it asks for.
* P-256 throughout; a certificate of a site is for clients, that of the server for servers.
* A certificate is renewed when less than a third of its life is left, with a new key. Key and certificate lie
  in one file, so that what is read fits together whenever a program was stopped.

Not here: who may have one (the coordinator's enrolment), identities (``identity``, ``trust``).

Privacy: names of institutions.

References: RFC 5280; RFC 2986 (requests).
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wardround_common.errors import ProtocolError, StorageError

CA_DAYS = 3650
LEAF_DAYS = 397
LEAF_LIFE = datetime.timedelta(LEAF_DAYS)
RENEWED_AT = 1 / 3
"""Share of its life that is left when a certificate is renewed."""
_BACKDATED = datetime.timedelta(hours=1)
"""A certificate is valid before it is made, for clocks that are behind."""


class Issuer:
    """A CA: its key, and its own certificate."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self.certificate = certificate

    @classmethod
    def create(cls, name: str) -> Issuer:
        """A new CA."""
        key = new_key()
        builder = _builder(name, name, key.public_key(), life=datetime.timedelta(CA_DAYS))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(certifies=True), critical=True)
        return cls(key, _sign(builder, key, key.public_key()))

    @classmethod
    def load(cls, key: bytes, certificate: bytes) -> Issuer:
        """The CA of a key and a certificate in PEM.

        Raises:
            StorageError: ``certificates.damaged``.
        """
        return cls(load_key(key), load_certificate(certificate))

    @property
    def key_pem(self) -> bytes:
        """The private key, to be kept where only its owner reads."""
        return key_pem(self._key)

    def for_server(
        self,
        public: ec.EllipticCurvePublicKey,
        hosts: Sequence[str],
        *,
        life: datetime.timedelta = LEAF_LIFE,
    ) -> bytes:
        """A certificate of a server that is reached as each of ``hosts``, in PEM."""
        return self._leaf(public, hosts[0], ExtendedKeyUsageOID.SERVER_AUTH, hosts, life=life)

    def for_site(self, request: bytes, name: str, *, life: datetime.timedelta = LEAF_LIFE) -> bytes:
        """The certificate of a site, in PEM.

        Args:
            request: What ``make_request`` returned; only its key counts.
            name: The site.
            life: How long it is valid from now.

        Raises:
            ProtocolError: ``certificates.bad_request``.
        """
        try:
            asked = x509.load_der_x509_csr(request)
            public, proven = asked.public_key(), asked.is_signature_valid
        except (ValueError, InvalidSignature, TypeError) as error:
            raise _bad_request("it cannot be read") from error
        if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
            raise _bad_request("its key is not on P-256")
        if not proven:
            raise _bad_request("it is not signed by its own key")
        return self._leaf(public, name, ExtendedKeyUsageOID.CLIENT_AUTH, (), life=life)

    def _leaf(
        self,
        public: ec.EllipticCurvePublicKey,
        name: str,
        use: x509.ObjectIdentifier,
        hosts: Sequence[str],
        *,
        life: datetime.timedelta,
    ) -> bytes:
        issuer = str(self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
        builder = _builder(name, issuer, public, life=life)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(certifies=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        if hosts:
            names = x509.SubjectAlternativeName([_host(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        return _sign(builder, self._key, self._key.public_key()).public_bytes(Encoding.PEM)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A P-256 key from the operating system's randomness."""
    return ec.generate_private_key(ec.SECP256R1())


def make_request(key: ec.EllipticCurvePrivateKey, name: str) -> bytes:
    """A request for a certificate, in DER, signed by the key that it is for."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.DER)


def requested_name(request: bytes) -> str:
    """The name in a request, which proves nothing; empty where there is none."""
    try:
        found = x509.load_der_x509_csr(request).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        return ""
    return str(found[0].value) if len(found) == 1 else ""


def certified_name(certificate: x509.Certificate) -> str:
    """The name in a certificate; empty where there is none."""
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if len(found) == 1 else ""


def is_due(certificate: x509.Certificate, now: datetime.datetime, *, share: float = RENEWED_AT) -> bool:
    """Whether less than ``share`` of a certificate's life is left."""
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_after_utc - now < life * share


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key in PEM, in clear."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_key(data: bytes) -> ec.EllipticCurvePrivateKey:
    """The private key in PEM bytes.

    Raises:
        StorageError: ``certificates.damaged``.
    """
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError) as error:
        raise _damaged("a private key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _damaged("a private key")
    return key


def load_certificate(data: bytes) -> x509.Certificate:
    """The certificate in PEM bytes.

    Raises:
        StorageError: ``certificates.damaged``.
    """
    try:
        return x509.load_pem_x509_certificate(data)
    except ValueError as error:
        raise _damaged("a certificate") from error


def certificate_fingerprint(certificate: x509.Certificate) -> bytes:
    """SHA-256 over the certificate in DER: what a join code pins, and what the server knows a peer by."""
    return certificate.fingerprint(hashes.SHA256())


def _builder(
    name: str, issuer: str, public: ec.EllipticCurvePublicKey, *, life: datetime.timedelta
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _sign(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, issuer: ec.EllipticCurvePublicKey
) -> x509.Certificate:
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer)
    return builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256())


def _usage(*, certifies: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certifies,
        key_cert_sign=certifies,
        crl_sign=certifies,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _bad_request(why: str) -> ProtocolError:
    return ProtocolError(
        f"the request for a certificate is refused: {why}",
        remedy="Make it again with `wardround-site join`.",
        code="certificates.bad_request",
    )


def _damaged(what: str) -> StorageError:
    return StorageError(
        f"a file that should hold {what} does not",
        remedy="Restore the file from a backup, or enrol the site again.",
        code="certificates.damaged",
    )
