"""Certificates of a host, and what the role `monitoring` tells the node exporter of them."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.ansible.tree import ANSIBLE

TELLER = ANSIBLE / "roles" / "monitoring" / "files" / "host-certificates"


def certificate(directory: Path, name: str, until: datetime.datetime) -> Path:
    key, who = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]),
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - datetime.timedelta(days=397))
        .not_valid_after(until)
        .sign(key, hashes.SHA256())
    )
    file = directory / name / "certificate.pem"
    file.parent.mkdir(parents=True)
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return file


def told(places: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    words = ["sh", str(TELLER), str(places), str(directory)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=20)
