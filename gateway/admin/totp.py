"""Codes of an authenticator app (TOTP, RFC 6238: SHA-1, 30 s, 6 digits) and recovery codes. Pure.

A code is good for its own step and the one before and after (section 5.2), and each step once: the
caller uses up the step that `matching_step` found and refuses one at or before the last.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime

import pyotp

STEP_S = 30
RECOVERY_CODES = 10
_RECOVERY_CHARACTERS = 20  # of 32 letters and digits: 100 random bits
_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def new_secret() -> str:
    """160 random bits, base32: RFC 4226 section 4 (R6)."""
    return pyotp.random_base32(32)


def provisioning_uri(secret: str, *, email: str, issuer: str) -> str:
    """`otpauth://…`, which authenticator apps read from a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=issuer)


def is_code(text: str) -> bool:
    """Six digits: an app's code, not a recovery code."""
    return len(text) == 6 and text.isascii() and text.isdigit()


def matching_step(secret: str, code: str, now: datetime, *, after: int | None) -> int | None:
    """The step of which this is the code, later than `after`; None for none."""
    if not is_code(code):
        return None
    totp = pyotp.TOTP(secret)
    step = int(now.timestamp()) // STEP_S
    found = None
    for candidate in (step - 1, step, step + 1):  # all three, whatever fits: the time says nothing
        if hmac.compare_digest(totp.generate_otp(candidate), code) and (
            after is None or candidate > after
        ):
            found = candidate
    return found


def new_recovery_codes() -> list[str]:
    """Ten codes, as they are written down: four groups of five."""
    return [_grouped() for _ in range(RECOVERY_CODES)]


def recovery_sha256(code: str) -> bytes:
    """What is kept of a recovery code; case, spaces and hyphens do not matter."""
    letters = "".join(character for character in code.upper() if character in _BASE32)
    return hashlib.sha256(letters.encode()).digest()


def _grouped() -> str:
    text = "".join(secrets.choice(_BASE32) for _ in range(_RECOVERY_CHARACTERS))
    return "-".join(text[place : place + 5] for place in range(0, len(text), 5))
