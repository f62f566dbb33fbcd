"""Instruments as a layer of the kill switch: a broker's symbol, for one tenant or, the platform's, for all.

An instrument has no settings and no limits: there is a row of it from the first time that somebody
halts it. Whether the broker has such a symbol is not asked: an emergency does not wait for a list.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from gateway.admin.changes import ObjectKind
from gateway.admin.operation import Call
from tenancy.errors import Invalid
from tenancy.ids import new_id
from tenancy.store.documents import Table
from tenancy.values import PRINTABLE, whole

Symbol = Annotated[str, Meta(min_length=1, max_length=50, pattern=whole(PRINTABLE + "+"))]
BrokerName = Annotated[str, Meta(min_length=1, max_length=40)]


class InstrumentDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which instrument: the symbol as the broker names it."""

    broker: BrokerName
    symbol: Symbol


INSTRUMENT: ObjectKind[InstrumentDocument] = ObjectKind(
    name="instrument",
    table=Table(
        noun="instrument",
        table="instrument_halts",
        key="instrument_id",
        document=InstrumentDocument,
        facts=("state", "created_at"),
        fixed=frozenset({"broker", "symbol"}),
        archived="",
    ),
)

_MAKE = """
INSERT INTO instrument_halts (instrument_id, tenant_id, broker, symbol) VALUES (%s, %s, %s, %s)
ON CONFLICT (tenant_id, broker, symbol) DO NOTHING"""
_FIND = "SELECT instrument_id FROM instrument_halts WHERE broker = %s AND symbol = %s"


def require_broker(call: Call, broker: str) -> None:
    """Raises Invalid for one that this installation does not trade at."""
    if broker not in call.services.brokers:
        known = ", ".join(call.services.brokers)
        raise Invalid(f"broker: {broker!r} is none of {known}", field="broker")


async def instrument_id(call: Call, broker: str, symbol: str) -> UUID:
    """The row of that instrument in the caller's tenant, made where there is none. Raises Invalid."""
    require_broker(call, broker)
    await call.conn.execute(_MAKE, (new_id(), call.scope.tenant_id, broker, symbol))
    row = await (await call.conn.execute(_FIND, (broker, symbol))).fetchone()
    assert row is not None
    found: UUID = row[0]
    return found
