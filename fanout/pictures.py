"""What each broker trades, in PostgreSQL: put there by workers, read by processes that have no broker.

A picture is everything that planning reads of a broker: its instruments with prices, and what it can
do. One row for each broker. Any worker writes it, the newest wins, and one that is younger than
`BETWEEN_S` is left alone, so that ten workers write no more than one.

Every time in it is the database's: a worker says how long ago it asked, a reader how old a picture
may be. No two hosts' clocks are compared, and a clock that runs ahead keeps nobody from writing.

A picture that is too old, or that this version cannot read, is as good as none: plans then say
`not_connected`. PostgreSQL away: nothing is written and nothing is read, and nothing is planned.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Protocol

import msgspec
import structlog

from fanout.market import Instruments
from fanout.ports import Caps, Instrument
from tenancy.database import Connection, Database
from tenancy.errors import UNREADABLE

log = structlog.get_logger()

STALE_S = 30.0
"""By prices that are older nothing is planned."""
BETWEEN_S = 1.9
"""A picture that is younger is not replaced. Workers ask every two seconds."""

_YOUNG = """
SELECT as_of > clock_timestamp() - (%(age)s + %(between)s) * interval '1 second'
FROM broker_instruments WHERE broker = %(broker)s"""
_PUT = """
INSERT INTO broker_instruments AS kept (broker, as_of, worker, picture)
VALUES (%(broker)s, clock_timestamp() - %(age)s * interval '1 second', %(worker)s, %(picture)b)
ON CONFLICT (broker) DO UPDATE
    SET as_of = excluded.as_of, worker = excluded.worker, picture = excluded.picture
    WHERE excluded.as_of > kept.as_of"""
_AGES = """
SELECT broker, worker, as_of, extract(epoch FROM clock_timestamp() - as_of)::float8
FROM broker_instruments ORDER BY broker"""
_PICTURES = "SELECT broker, as_of, picture FROM broker_instruments WHERE broker = ANY(%s)"


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one broker."""

    instruments: tuple[Instrument, ...]
    caps: Caps


_DECODER = msgspec.msgpack.Decoder(Picture)


class Known(Protocol):
    """What planning reads of the brokers: asked by ourselves (Instrumented), or read from pictures."""

    def by_broker(self) -> dict[str, Instruments]:
        """Those that are fresh enough to trade by."""
        ...

    def keyed(self) -> frozenset[str]:
        """Brokers whose accounts trade with an enrolled key only."""
        ...

    def caps(self) -> dict[str, Caps]:
        """What each broker can do."""
        ...


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One broker as a worker saw it `age_s` seconds ago."""

    broker: str
    worker: str
    as_of: datetime
    age_s: float
    caps: Caps
    instruments: Instruments

    @property
    def fresh(self) -> bool:
        """Young enough to plan by."""
        return self.age_s <= STALE_S


class World:
    """Every broker that a worker has put a picture of, as `Known`."""

    def __init__(self, seen: Iterable[Seen]) -> None:
        self.seen = tuple(seen)

    def by_broker(self) -> dict[str, Instruments]:
        return {one.broker: one.instruments for one in self.seen if one.fresh}

    def keyed(self) -> frozenset[str]:
        return frozenset(one.broker for one in self.seen if one.caps.credential)

    def caps(self) -> dict[str, Caps]:
        return {one.broker: one.caps for one in self.seen}


class Pictures:
    """Reads pictures; what was decoded is kept for as long as it is the newest."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[datetime, Picture, Instruments]] = {}

    async def read(self, conn: Connection) -> World:
        """As they are now. Those that this version cannot read are left out."""
        ages = await (await conn.execute(_AGES)).fetchall()
        changed = [b for b, _, as_of, _ in ages if self._kept.get(b, (None,))[0] != as_of]
        if changed:
            for broker, as_of, data in await (await conn.execute(_PICTURES, (changed,))).fetchall():
                self._keep(broker, as_of, data)
        return World(
            Seen(
                broker=broker,
                worker=worker,
                as_of=self._kept[broker][0],
                # A newer one may have come between the two statements: it is younger than said.
                age_s=max(0.0, age_s),
                caps=self._kept[broker][1].caps,
                instruments=self._kept[broker][2],
            )
            for broker, worker, _, age_s in ages
            if broker in self._kept
        )

    def _keep(self, broker: str, as_of: datetime, data: bytes) -> None:
        try:
            picture = _DECODER.decode(zlib.decompress(data))
        except (*UNREADABLE, zlib.error) as error:
            self._kept.pop(broker, None)
            log.error("picture_not_read", broker=broker, error=str(error))
            return
        self._kept[broker] = as_of, picture, Instruments(picture.instruments)


class PictureWriter:
    """Puts what this worker has seen where everybody finds it."""

    def __init__(self, database: Database, worker: str) -> None:
        """`database` connects as portcullis_worker."""
        self._database = database
        self._worker = worker

    async def put(
        self, broker: str, instruments: Mapping[str, Instrument], caps: Caps, *, age_s: float
    ) -> bool:
        """Keep it unless there is a young one; whether there was none. `age_s`: since the broker was asked.

        Raises Unavailable, OutcomeUnknown: then the next round puts a newer one.
        """
        asked = {"broker": broker, "age": age_s, "between": BETWEEN_S, "worker": self._worker}
        async with self._database.connection() as conn:
            row = await (await conn.execute(_YOUNG, asked)).fetchone()
        if row is not None and row[0]:
            return False
        picture = Picture(instruments=tuple(instruments.values()), caps=caps)
        data = await asyncio.to_thread(_encoded, picture)  # some have twenty thousand
        async with self._database.shared() as conn:
            await conn.execute(_PUT, asked | {"picture": data})
        return True


def _encoded(picture: Picture) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(picture), 1)
