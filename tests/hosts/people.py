"""Two people of the platform at the client's machine: invited, joined, each with a second factor of their own."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pyotp

from ops.api_client import Api, trust

INVITATION = re.compile(r"pci_[0-9A-Za-z_-]{43}")
REASON = {"reason": "what is restored was compared with who kept a later checkpoint"}


class Letting(msgspec.Struct, frozen=True, kw_only=True):
    """At which management address; the authority's file; the links of two people's invitations."""

    admin: str
    authority: str
    first: str
    second: str


class Lifted(msgspec.Struct, frozen=True, kw_only=True):
    """Ids of the audit log's halts that were open and are lifted."""

    halts: list[str]


async def let_go_on(asked: Letting) -> Lifted:
    """They lift each open halt of an audit log, one asking and one agreeing; then the platform's switch."""
    async with _joined(asked, asked.first) as first, _joined(asked, asked.second) as second:
        halts = [
            one["halt_id"] async for one in first.items("/v1/audit-halts") if not one["lifted_at"]
        ]
        for halt in halts:
            waits = await first.ask("POST", f"/v1/audit-halts/{halt}/lift", REASON)
            await second.make(f"/v1/proposals/{waits.proposal}/approve", {})
        await first.make("/v1/halts/release", {"scope": "platform", **REASON})
        return Lifted(halts=halts)


@asynccontextmanager
async def _joined(asked: Letting, link: str) -> AsyncIterator[Api]:
    trusted = trust(Path(asked.authority))
    found = INVITATION.search(link)
    assert found is not None, "the link holds no invitation"
    password = secrets.token_urlsafe(24)
    async with Api(asked.admin, "", trusted) as nobody:
        invitation = {"invitation": found[0], "password": password}
        person = await nobody.make("/v1/invitations", invitation)
        session = await nobody.make(
            "/v1/sessions", {**person, "password": password, "transport": "bearer"}
        )
    async with Api(asked.admin, session["token"], trusted) as api:
        begun = await api.make("/v1/me/factors/totp", {"label": "phone"})
        code = {"code": pyotp.TOTP(begun["secret"]).now()}
        await api.make(f"/v1/me/factors/{begun['factor_id']}/confirm", code)
        yield api
