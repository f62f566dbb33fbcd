"""The wake-up between processes: one Redis Stream entry says that something waits in PostgreSQL.

A wake-up carries ids only and is never the truth: whoever loses one finds the same work with
its sweep, ≤ 1 s later. So every worker reads the whole stream from `$` without a consumer
group, and nobody acknowledges anything.

Fields: kind (`signal` to plan, `plan` to carry out, `halt`: the kill switch), id (UUID of the signal, or
of the intervention), part (partition, decimal); where the trace is recorded also traceparent, under which
who is woken hangs what it does (fanout/heard.py). An older worker does not look at that field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec
from redis.asyncio import Redis

from fanout.trace import is_sampled

STREAM = "portcullis:wake"
MAX_ENTRIES = 10_000
"""About as many are kept; a reader that is further behind has its sweep."""

Kind = Literal["signal", "plan", "halt"]


class Wake(msgspec.Struct, frozen=True):
    """Something to do: `kind` says what `id` is, `part` whose it is."""

    kind: Kind
    id: UUID
    part: int
    traceparent: str = ""


async def publish(redis: Redis, items: Sequence[Wake]) -> None:
    """One XADD for each, in one round trip. Raises redis.RedisError, OSError or TimeoutError."""
    pipe = redis.pipeline(transaction=False)
    for item in items:
        pipe.xadd(STREAM, _fields(item), maxlen=MAX_ENTRIES, approximate=True)
    await pipe.execute()


def _fields(item: Wake) -> dict[Any, Any]:
    fields = {"kind": item.kind, "id": str(item.id), "part": str(item.part)}
    if is_sampled(item.traceparent):
        fields["traceparent"] = item.traceparent
    return fields


def read(fields: Mapping[bytes, bytes]) -> Wake | None:
    """The wake-up that an entry says; None for one that we cannot read (a newer version's)."""
    text: dict[str, Any] = {k.decode(): v.decode("ascii", "replace") for k, v in fields.items()}
    try:
        return msgspec.convert(text, Wake, strict=False)
    except msgspec.ValidationError:
        return None
