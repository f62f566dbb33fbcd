"""What a worker says to a session process and hears from it: msgpack, each frame led by its length.

An answer's body is what the ports return, so nothing is said twice: the session sorts, the worker
passes on. What came is answered once or not at all; silence is doubt.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from fanout.abilities import Hint
from fanout.order import Order

FRAME_MAX = 16 * 1024 * 1024
"""The instruments of every option of a root are some MB."""


class Whose(msgspec.Struct, frozen=True, kw_only=True):
    """The account that is spoken of. `number`: SinoPac's, as `F002000-1234567`."""

    account_id: UUID
    tenant_id: UUID
    number: str
    api_key: str | None = None
    stated_equity: Decimal | None = None


class Submit(msgspec.Struct, frozen=True, tag=True):
    id: int
    whose: Whose
    order: Order
    not_after: datetime


class Cancel(msgspec.Struct, frozen=True, tag=True):
    id: int
    whose: Whose
    order: Order


class Reprice(msgspec.Struct, frozen=True, tag=True):
    id: int
    whose: Whose
    order: Order
    price: Decimal
    not_after: datetime


class Find(msgspec.Struct, frozen=True, tag=True):
    id: int
    whose: Whose
    order: Order


class OpenOrders(msgspec.Struct, frozen=True, tag=True):
    id: int
    whose: Whose


class Positions(msgspec.Struct, frozen=True, tag=True):
    id: int
    whose: Whose


class EquityOf(msgspec.Struct, frozen=True, tag=True):
    id: int
    whose: Whose


class Instruments(msgspec.Struct, frozen=True, tag=True):
    id: int


class Prove(msgspec.Struct, frozen=True, tag=True):
    id: int
    whose: Whose


class Watch(msgspec.Struct, frozen=True, tag=True):
    """From now on, hints of this account, on this connection, under this id."""

    id: int
    whose: Whose


Request = (
    Submit | Cancel | Reprice | Find | OpenOrders | Positions | EquityOf | Instruments | Prove | Watch
)  # fmt: skip


class Answer(msgspec.Struct, frozen=True, tag=True):
    id: int
    body: msgspec.Raw


class Failed(msgspec.Struct, frozen=True, tag=True):
    """Nothing is known and nothing was done to an order: ports' Unavailable."""

    id: int
    why: str


class Told(msgspec.Struct, frozen=True, tag=True):
    id: int
    hint: Hint


class Trial(msgspec.Struct, frozen=True, tag=True):
    """To a keeper (ops/session/keeper.py): is this key one? `sealed` is of no use outside the HSM."""

    id: int
    api_key: str
    sealed: bytes


class Tried(msgspec.Struct, frozen=True):
    """`refused`: SinoPac does not take it. Else a session that it let in waits to be asked."""

    refused: bool


Said = Answer | Failed | Told

_encoder = msgspec.msgpack.Encoder()
requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
trials: msgspec.msgpack.Decoder[Trial] = msgspec.msgpack.Decoder(Trial)
answers: msgspec.msgpack.Decoder[Said] = msgspec.msgpack.Decoder(Said)


def frame(message: Request | Trial | Said) -> bytes:
    body = _encoder.encode(message)
    return len(body).to_bytes(4, "big") + body


def answered(request_id: int, value: Any) -> Answer:
    return Answer(request_id, msgspec.Raw(_encoder.encode(value)))


async def read_frame(reader: asyncio.StreamReader) -> bytes | None:
    """One body; None where the other side hung up, or says what is no frame."""
    try:
        length = int.from_bytes(await reader.readexactly(4), "big")
        if not 0 < length <= FRAME_MAX:
            return None
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, OSError):
        return None
