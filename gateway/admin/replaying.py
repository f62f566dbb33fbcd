"""Replaying a dead letter: a new signal in place of what an old one left undone, in two steps.

1. *Preview.* The signal is planned for the chosen accounts as things stand now, and nothing is sent.
   What was shown is kept for `GOOD_FOR_S` under an id that is good once, and for whoever asked.
2. *Replay.* The old signal's row locked; each account must still be a dead letter, not replayed, with
   nothing open; planned once more, it must still be what was shown (a quantity may have moved a little);
   then the new signal, a row per account, and the records, in one transaction. From there on it is
   a signal like any other: planned under every limit and switch, asked about where a yes is needed.

Only accounts for which something would be sent take part: the others stay dead letters. An account of
a signal is replayed once, ever (a key in PostgreSQL); a replay that fails is a dead letter itself.
*A crash before the commit leaves nothing, after it a kept signal, which the sweep finds.*
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import msgspec
import psycopg
from msgspec import Meta

from fanout import dead_letter_rows as rows
from fanout.case import wanted_of
from fanout.dead_letter_rows import Letter, Replay
from fanout.dead_letters import DeadAccount, NewLeg, grows, moved
from fanout.mandate import Mandate
from fanout.modes import BLOCK_WEIGHTS
from fanout.preview import Previewed, preview
from fanout.signal import Signal, decode
from fanout.wake import Wake
from gateway.admin.dead_letters import TAG, dead_accounts, read_letter, why_not
from gateway.admin.errors import PreviewOver
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.preview import PreviewView, view
from tenancy.effective import effective
from tenancy.errors import Conflict, Invalid
from tenancy.ids import new_id
from tenancy.values import AccountID, SignalID, StrategyID, partition

GOOD_FOR_S = 120
ACCOUNTS_MOST = 10_000
Reason = Annotated[str, Meta(min_length=1, max_length=1000, description="Why; kept for good.")]


class Chosen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which accounts; left out: all that can be replayed."""

    account_ids: (
        Annotated[tuple[UUID, ...], Meta(min_length=1, max_length=ACCOUNTS_MOST)] | None
    ) = None


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """An account that was asked for and would not be replayed, and why."""

    account_id: UUID
    why_not: str


class ReplayPreview(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay would do now. `preview`: names it for the replay, until `expires_at`, by whoever asked; null:
    nothing would be sent. `account_ids`: who would take part; `would`: the whole decision about them."""

    preview: UUID | None
    expires_at: datetime | None
    account_ids: list[UUID]
    left_out: list[LeftOut]
    would: PreviewView


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """The signal that was sent in place of what was left undone."""

    replay_id: UUID
    signal_id: UUID
    account_ids: list[UUID]


class ReplayOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The preview that is to be carried out, and why."""

    preview: UUID
    reason: Reason


Legs = dict[UUID, tuple[NewLeg, ...]]
"""What would be sent, account by account."""


class Tried(msgspec.Struct, frozen=True):
    """A replay as it would be now."""

    made: Previewed
    legs: Legs
    refused: Mapping[UUID, str]


_FORGET = "DELETE FROM replay_previews WHERE expires_at < %s"
_KEEP = """
INSERT INTO replay_previews (tenant_id, preview_id, signal_id, accounts, shown, shown_to, expires_at)
VALUES (%s, %s, %s, %s, %s::json, %s, %s)"""
_FIND = """
DELETE FROM replay_previews WHERE preview_id = %s AND signal_id = %s AND shown_to = %s AND expires_at >= %s
RETURNING shown::text"""


async def _preview(call: Call) -> Result:
    letter = await read_letter(call)
    wanted, refused = await _candidates(call, letter, call.body.account_ids)
    tried = await _try(call, letter, wanted)
    world = await call.services.pictures.read(call.conn)
    shown = await asyncio.to_thread(view, tried.made, world, proposed=False)
    ids = {dead.account_id for dead in wanted}
    shown = msgspec.structs.replace(
        shown, entries=[entry for entry in shown.entries if entry.account_id in ids]
    )
    preview_id, expires_at = None, None
    if tried.legs:
        preview_id = new_id()
        expires_at = call.services.clock.now() + timedelta(seconds=GOOD_FOR_S)
        await _keep(call, letter, preview_id, tried.legs, expires_at)
    left_out = [*refused.items(), *tried.refused.items()]
    content = ReplayPreview(
        preview=preview_id, expires_at=expires_at, account_ids=list(tried.legs), would=shown,
        left_out=[LeftOut(account_id=account, why_not=why) for account, why in left_out],
    )  # fmt: skip
    return Result(content=content)


async def _replay(call: Call) -> Result:
    asked: ReplayOrder = call.body
    letter = await read_letter(call, lock=True)
    shown = await _shown(call, letter, asked.preview)
    wanted, refused = await _candidates(call, letter, tuple(shown))
    for account, why in refused.items():
        raise Conflict(f"account {account}: {why}")
    tried = await _try(call, letter, wanted)
    for account, legs in shown.items():
        if moved(legs, tried.legs.get(account, ())):
            why = tried.refused.get(account, "it would trade otherwise than was shown")
            raise PreviewOver(f"account {account}: {why}")
    replay = Replay(
        signal_id=SignalID(new_id()), of=letter.signal_id, strategy_id=StrategyID(letter.strategy_id),
        ticker=letter.ticker, body=rows.derived(letter.body), accounts=tuple(shown),
        reason=asked.reason, at=call.services.clock.now(), trace_id=call.trace_id,
    )  # fmt: skip
    try:
        await rows.send(call.conn, call.scope, replay)
    except psycopg.errors.UniqueViolation:
        raise Conflict("one of these accounts was replayed a moment ago") from None
    content = Replayed(
        replay_id=replay.signal_id, signal_id=letter.signal_id, account_ids=list(replay.accounts)
    )
    wake = Wake(kind="signal", id=replay.signal_id, part=partition(replay.strategy_id))
    return Result(content=content, location=f"/v1/signals/{replay.signal_id}", wakes=(wake,))


async def _candidates(
    call: Call, letter: Letter, chosen: Sequence[UUID] | None
) -> tuple[list[DeadAccount], dict[UUID, str]]:
    """Those that can be replayed; and of the chosen ones those that cannot, with the reason.

    Raises Invalid for one that is no dead letter of this signal.
    """
    found = {dead.account_id: dead for dead in await dead_accounts(call.conn, letter)}
    replays = await rows.replays(call.conn, letter.signal_id)
    for account in chosen or ():
        if account not in found:
            raise Invalid(
                f"account_ids: nothing of the signal was left undone at {account}",
                field="account_ids",
            )
    asked = list(found.values()) if chosen is None else [found[each] for each in chosen]
    whys = {dead.account_id: why_not(dead, letter, replays) for dead in asked}
    refused = {account: why for account, why in whys.items() if why}
    return [dead for dead in asked if dead.account_id not in refused], refused


async def _try(call: Call, letter: Letter, wanted: Sequence[DeadAccount]) -> Tried:
    """The derived signal planned now, for these accounts alone. Raises InvalidSignal, Unavailable."""
    signal = decode(rows.derived(letter.body))
    named = frozenset(AccountID(dead.account_id) for dead in wanted)
    made = await preview(
        call.conn, StrategyID(letter.strategy_id), signal, SignalID(new_id()),
        await call.services.pictures.read(call.conn), call.services.calendars,
        call.services.clock.now(), mandate=Mandate(origin="replay", accounts=named),
    )  # fmt: skip
    legs: Legs = {}
    refused: dict[UUID, str] = {}
    dead = {one.account_id: one for one in wanted}
    blocks = _in_blocks(made, signal)
    for entry in made.plan.entries:
        one = dead.get(entry.account_id)
        if one is None:
            continue
        new = tuple(
            NewLeg(
                leg=leg.leg, side=leg.side, order_qty=leg.order_qty, ord_type=leg.ord_type,
                reduce_only=leg.reduce_only,
            )
            for leg in entry.legs
        )  # fmt: skip
        why = grows(one, new) if new else f"nothing would be sent: {entry.reason.value}"
        if entry.account_id in blocks and not one.legs:
            why = "its part of the total went to the other accounts"
        if why:
            refused[entry.account_id] = why
        else:
            legs[entry.account_id] = new
    for account in dead.keys() - legs.keys() - refused.keys():
        refused[account] = "it does not follow the strategy any more"
    return Tried(made, legs, refused)


def _in_blocks(made: Previewed, signal: Signal) -> frozenset[UUID]:
    """Accounts whose quantity is their part of a total that the strategy's accounts split."""
    wanted = wanted_of(signal)
    return frozenset(
        row.account.account_id
        for row in made.snapshot.rows
        if effective(wanted, row.settings, exit=False).quantity_type in BLOCK_WEIGHTS
    )


async def _keep(
    call: Call, letter: Letter, preview_id: UUID, legs: Legs, expires_at: datetime
) -> None:
    await call.conn.execute(_FORGET, (call.services.clock.now(),))
    shown = {str(account): each for account, each in legs.items()}
    values: tuple[Any, ...] = (
        call.scope.tenant_id, preview_id, letter.signal_id, list(legs),
        msgspec.json.encode(shown).decode(), call.principal.credential, expires_at,
    )  # fmt: skip
    await call.conn.execute(_KEEP, values)


async def _shown(call: Call, letter: Letter, preview_id: UUID) -> Legs:
    """What its asker was shown; the preview is spent. Raises PreviewOver."""
    values = (
        preview_id, letter.signal_id, call.principal.credential, call.services.clock.now(),
    )  # fmt: skip
    row = await (await call.conn.execute(_FIND, values)).fetchone()
    if row is None:
        raise PreviewOver(
            f"there is no such preview of this signal by you in the last {GOOD_FOR_S} s"
        )
    return msgspec.json.decode(row[0], type=Legs)


_PROBLEMS = ("not_found", "conflict", "invalid_signal", "unresolvable", "unavailable")

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="preview_dead_letter", method="POST", path="/v1/dead-letters/{signal_id}/preview", tag=TAG,
        action="orders:replay", handle=_preview, body=Chosen, answer=ReplayPreview,
        summary="See what a replay of a dead letter would send now, and name it for the replay.",
        detail=f"Planned for the chosen accounts alone, from their positions as they are. The preview is good for"
        f" {GOOD_FOR_S} seconds, once, and for whoever asked.",
        problems=_PROBLEMS,
    ),
    Operation(
        name="replay_dead_letter", method="POST", path="/v1/dead-letters/{signal_id}/replay", tag=TAG,
        action="orders:replay", handle=_replay, body=ReplayOrder, answer=Replayed, status=201,
        summary="Send a new signal in place of what a dead letter left undone, as it was previewed.",
        detail="Each account of a signal is replayed once. Refused while anything of it is open or in doubt, after"
        " a part of it was opened, and where it would trade otherwise than was shown.",
        problems=(*_PROBLEMS, "preview_over"),
    ),
)  # fmt: skip
