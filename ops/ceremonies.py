"""The ceremonies of this host's HSM, in the words of the settings file: a tenant's keys, a log's key.

Each ends with its signed record (hsm/record.py).
"""

from __future__ import annotations

import asyncio
import getpass
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from hsm import ceremony
from hsm.record import Kept, write_record
from hsm.settings import TokenSettings
from ops.settings import Settings
from tenancy.ids import new_id

ORIGIN_DOMAIN = "portcullis.invalid"
"""Origins are names, not addresses: a reserved top-level domain cannot clash with anybody's."""


class NewLog(msgspec.Struct, frozen=True):
    """An audit log's name and keys. Their label is the origin; `public_key`: Ed25519, 32 bytes;
    `p256_key`: the second pair's, SubjectPublicKeyInfo in DER."""

    log_id: UUID
    origin: str
    public_key: bytes
    p256_key: bytes


def token_settings(settings: Settings) -> TokenSettings:
    """The ceremony's words for `[hsm]`."""
    hsm = settings.hsm
    return TokenSettings(
        module=hsm.module,
        softhsm_conf=hsm.softhsm_conf,
        profile=hsm.profile,
        mirrors=hsm.mirrors,
        enrol_label=hsm.enrol_label,
        sign_label=hsm.sign_label,
        enrol_pin_file=hsm.enrol_pin_file,
        enrol_so_pin_file=hsm.enrol_so_pin_file,
        sign_pin_file=hsm.sign_pin_file,
        sign_so_pin_file=hsm.sign_so_pin_file,
    )


async def new_log(settings: Settings, kind: str = "log") -> NewLog:
    """A key for a new audit log. Its name is random: it is published, the tenant is not.

    `kind` stands in the name: "log", or "anchor" for the one that holds anchors of the others.
    """
    origin = f"{ORIGIN_DOMAIN}/{kind}/{secrets.token_hex(8)}"
    tokens = token_settings(settings)
    public_key = await asyncio.to_thread(ceremony.create_log_key, tokens, origin, origin)
    second = await asyncio.to_thread(ceremony.create_log_p256_key, tokens, origin, origin)
    return NewLog(new_id(), origin, public_key, second)


def records_of(settings: Settings) -> Path:
    """Where the records of ceremonies lie."""
    return settings.instance.var / "hsm" / "records"


def recorded(settings: Settings, what: str, **facts: Any) -> Kept:
    """The record of a ceremony that has just ended: of all tokens, as they are now."""
    return write_record(
        token_settings(settings), records_of(settings), what=what, who=_operator(),
        at=datetime.now(UTC), facts=facts,
    )  # fmt: skip


def _operator() -> str:
    """Who runs this, as the operating system knows them: behind sudo, who called it."""
    name = getpass.getuser()
    caller = os.environ.get("SUDO_USER")
    return f"{caller} as {name}" if caller else name
