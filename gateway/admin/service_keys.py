"""Service keys: what programs present; each may do what its scopes say, until it ends, from its addresses.

Nobody makes a key that may do more than they: whatever makes a key stronger (scopes, a later end,
more addresses, another certificate) needs all of its scopes among the caller's own actions.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from ipaddress import ip_network
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gateway.admin import changes
from gateway.admin.changes import By, ObjectKind, by
from gateway.admin.dangers import NONE
from gateway.admin.errors import Forbidden
from gateway.admin.objects import Resource
from gateway.admin.operation import Call, Result
from gateway.admin.paging import PageQuery
from tenancy.errors import Invalid
from tenancy.roles import scopes_of
from tenancy.store import documents
from tenancy.store.documents import Table
from tenancy.store.service_keys import make_key
from tenancy.values import Name, utc, whole

Scope = Annotated[str, Meta(min_length=1, max_length=50)]
Source = Annotated[str, Meta(min_length=1, max_length=49)]
Fingerprint = Annotated[str, Meta(pattern=whole("[0-9a-f]{64}"))]


class ServiceKeyDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What people set about a key.

    `scopes`: actions, sorted. `sources`: networks (CIDR) that it is taken from; none: from anywhere.
    `certificate_sha256`: of a client certificate (DER) that stands for the key, in lower-case hex.
    """

    name: Name
    scopes: Annotated[tuple[Scope, ...], Meta(max_length=100)] = ()
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None
    sources: Annotated[tuple[Source, ...], Meta(max_length=50)] = ()
    certificate_sha256: Fingerprint | None = None

    def __post_init__(self) -> None:
        put = msgspec.structs.force_setattr
        put(self, "scopes", tuple(sorted(set(self.scopes))))
        put(self, "sources", tuple(dict.fromkeys(str(ip_network(text)) for text in self.sources)))
        if self.expires_at is not None:
            put(self, "expires_at", utc(self.expires_at, "expires_at"))


class ServiceKeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is; the secret half is shown when it is made and kept nowhere."""

    key_id: str
    name: str
    scopes: tuple[str, ...]
    expires_at: datetime | None
    sources: tuple[str, ...]
    certificate_sha256: str | None
    revision: int
    created_at: datetime
    revoked_at: datetime | None


class ServiceKeyFilters(PageQuery, frozen=True, kw_only=True):
    """Which keys; `archived`: revoked ones too."""

    name: str | None = None
    archived: bool = False


def gains(before: ServiceKeyDocument | None, after: ServiceKeyDocument) -> bool:
    """Whether the key may do more, for longer, from elsewhere, or in another's hand. Pure."""
    if before is None:
        return True
    more = not set(after.scopes) <= set(before.scopes)
    longer = before.expires_at is not None and (
        after.expires_at is None or after.expires_at > before.expires_at
    )
    hand = after.certificate_sha256 not in (None, before.certificate_sha256)
    return more or longer or hand or _wider(before.sources, after.sources)


def _wider(before: tuple[str, ...], after: tuple[str, ...]) -> bool:
    if not before:
        return False
    old = [ip_network(text) for text in before]
    return not after or not all(
        any(new.version == one.version and new.subnet_of(one) for one in old)  # type: ignore[arg-type]
        for new in map(ip_network, after)
    )


async def _check(
    by: By, before: ServiceKeyDocument | None, after: ServiceKeyDocument | None
) -> None:
    if after is None:
        return
    row = await (
        await by.conn.execute(
            "SELECT kind FROM tenants WHERE tenant_id = %s", (by.scope.tenant_id,)
        )
    ).fetchone()
    assert row is not None
    unknown = set(after.scopes) - scopes_of(row[0])
    if unknown:
        raise Invalid(f"scopes: no key may have {', '.join(sorted(unknown))}", field="scopes")
    if by.proposal is None and gains(before, after):
        beyond = set(after.scopes) - by.actions
        if beyond:
            raise Forbidden(f"you may not do {', '.join(sorted(beyond))}, so no key of yours may")


def _danger(
    before: ServiceKeyDocument | None, after: ServiceKeyDocument | None, facts: Mapping[str, Any]
) -> frozenset[str]:
    stronger = after is not None and bool(after.scopes) and gains(before, after)
    return frozenset({"roles"}) if stronger else NONE


async def _columns(by: By, object_id: Any, document: ServiceKeyDocument) -> Mapping[str, Any]:
    """Without a secret that anybody knows: such a key comes by its certificate alone."""
    return {"secret_sha256": secrets.token_bytes(32)}


SERVICE_KEY: ObjectKind[ServiceKeyDocument] = ObjectKind(
    name="service_key",
    table=Table(
        noun="service key",
        table="service_keys",
        key="key_id",
        document=ServiceKeyDocument,
        facts=("created_at", "revoked_at"),
        read_as={
            "sources": "sources::text[]",
            "certificate_sha256": "encode(certificate_sha256, 'hex')",
        },
        write_as={
            "sources": "%s::text[]::cidr[]",
            "certificate_sha256": "decode(%s, 'hex')",
        },
        archived="revoked_at",
        names={
            "service_keys_certificate_sha256_key": "this certificate stands for a key already",
        },
    ),
    check=_check,
    danger=_danger,
    columns=_columns,
    make_id=lambda: make_key().key_id,
)


class _ServiceKeys(Resource[ServiceKeyDocument], frozen=True, kw_only=True):
    """A key is shown once. Where a second person is wanted it is made without scopes, which then wait."""

    async def _create(self, call: Call) -> Result:
        fresh, author, wanted = make_key(), by(call), call.body
        digest = {"secret_sha256": fresh.secret_sha256}
        waits = await changes.waits(author, self.kind.danger(None, wanted, {}))
        first = msgspec.structs.replace(wanted, scopes=()) if waits else wanted
        _, made = await changes.create(author, self.kind, first, fresh.key_id, digest)
        if waits:
            stored = await documents.read(call.conn, self.kind.table, fresh.key_id)
            made = await changes.change(author, self.kind, stored, wanted)
        answer = await self.answer(call, fresh.key_id, made, 201)
        return msgspec.structs.replace(answer, once={"key": fresh.key})


SERVICE_KEYS = _ServiceKeys(
    kind=SERVICE_KEY,
    path="/v1/service-keys",
    id_name="key_id",
    tag="Service keys",
    view=ServiceKeyView,
    resource="keys",
    text_ids=True,
    filters=ServiceKeyFilters,
    create=ServiceKeyDocument,
    ends="revoke",
    shows_once=("key",),
)

OPERATIONS = SERVICE_KEYS.operations()
