"""A certificate authority and a server certificate for one developer's machine.

Production brings its own certificates; these are for loopback names only and say so in their
subject. ECDSA P-256; the CA's key is thrown away after it has signed, so that nobody can issue
another certificate that this machine's tools would trust.
"""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ops import metrics
from tenancy.errors import ConfigurationError

LIFETIME = timedelta(days=397)
PEM = serialization.Encoding.PEM


def create_dev_certificates(directory: Path, now: datetime) -> None:
    """Write ca.pem, server.pem and server.key (0600), valid for localhost, 127.0.0.1 and ::1."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("Portcullis development CA")
    ca = _builder(ca_name, ca_name, ca_key.public_key(), now)
    ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    ca = ca.add_extension(_usage(signs_certificates=True), critical=True)
    ca_key_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = ca.add_extension(ca_key_id, critical=False)

    key = ec.generate_private_key(ec.SECP256R1())
    server = _builder(_name("localhost"), ca_name, key.public_key(), now)
    server = server.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    server = server.add_extension(_usage(signs_certificates=False), critical=True)
    server = server.add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
    )
    server = server.add_extension(_loopback_names(), critical=False)
    server = server.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_key_id), critical=False
    )

    (directory / "ca.pem").write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(PEM))
    (directory / "server.pem").write_bytes(server.sign(ca_key, hashes.SHA256()).public_bytes(PEM))
    write_private(
        directory / "server.key",
        key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def tell_expiry(use: str, certificate: Path) -> None:
    """Show until when the certificates in this file hold. Called by who begins to use them: a file that
    was renewed under a process that goes on with the old one must not look well.

    Raises ConfigurationError where there is none in it.
    """
    try:
        chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{certificate} is no certificate (PEM): {error}") from None
    ends = min(one.not_valid_after_utc for one in chain)
    metrics.CERTIFICATE_EXPIRY.labels(use).set(ends.timestamp())


def write_private(path: Path, content: bytes) -> None:
    """Write `path` so that it is 0600 before the first byte is in it."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + LIFETIME)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _loopback_names() -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(
        [
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.IPAddress(ipaddress.ip_address("::1")),
        ]
    )
