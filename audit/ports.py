"""What the recorder needs from the rest of the house."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from tenancy.errors import PortcullisError, Unavailable


class NoteSigner(Protocol):
    """Signs checkpoints; hsm.client is one."""

    async def sign_note(self, label: str, text: bytes) -> bytes:
        """The signature of `text` by the key `label`, as a note bears it: Ed25519, 64 bytes; or, by
        a label of p256_label(), ECDSA P-256 over SHA-256, DER. Raises a PortcullisError or OSError."""
        ...


def p256_label(label: str) -> str:
    """How the signer is asked for the second pair of a log's key. (As hsm.templates.p256_label.)"""
    return f"{label}#p256"


class SecretOpener(Protocol):
    """Opens what the HSM sealed; hsm.client.SignerClient is one."""

    async def open_secret(self, sealed: bytes, *, tenant_id: UUID, subject: str) -> bytes:
        """The secret. Raises a PortcullisError."""
        ...


class AuditUnavailable(Unavailable):
    """No record can be written (or its payload read) now, so what it would describe does not happen."""

    code = "audit_unavailable"


class LogHalted(PortcullisError):
    """A log's rows, files and signatures contradict each other: nothing more is written to it.

    Its records stay in the inbox; a person must find out which side is right.
    """

    code = "audit_log_halted"
