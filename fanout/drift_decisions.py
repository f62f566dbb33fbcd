"""What was decided of a drift, carried out: by the worker that holds the account's partition, once.

A decision is a row, by a person (gateway/admin/drifts.py) or by the account's policy (reconcile_judging.py):

- `accept`     the broker's position is the book's from now on: `positions` is set, `position.adjusted`.
- `set_aside`  what differs is not ours, and is left alone: no difference any more while it stays so.
- `correct`    the book takes the broker's position, and a signal of our own, for this account alone,
               asks for the position that the book had. From there on it is a signal like any other: planned
               within every limit and halt, intended, carried. What it fills is folded into the book,
               and the two agree, whether it fills or not.
- `halt`       the account is halted, as by the kill switch, and the drift stays open.

One transaction, in turn on the strategy and under the lease: the drift's row locked and still open, our
book still what it was when the drift was found and nothing of the symbol under way; then the change, the
signal, the drift's state, the decision's outcome, and their records. *Crash before the commit: nothing
happened, and the next look takes the decision up. After: it is done, and is never done twice;* the signal's
message id is the drift's, so there is one correction of a drift at most, whoever decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

import msgspec
import structlog

from audit.inbox import Entry, append
from audit.record import Kind
from fanout import drift_records as records
from fanout import drift_rows as rows
from fanout.account_stop import make_stricter
from fanout.drift_rows import Drift, Pending
from fanout.leases import LeaseLost, Leases
from fanout.turn import turn
from tenancy.clock import Clock
from tenancy.database import Connection, Database
from tenancy.errors import PortcullisError
from tenancy.ids import new_id
from tenancy.scope import TenantScope
from tenancy.values import AccountID, SignalID, StrategyID, TenantID, plain

log = structlog.get_logger()

DONE = "done"


class DriftDecisions:
    """This worker's share in what was decided."""

    def __init__(
        self, database: Database, leases: Leases, clock: Clock,
        wake: Callable[[SignalID, StrategyID], None], look: Callable[[AccountID], None],
    ) -> None:  # fmt: skip
        """`wake` says that a signal of ours waits to be planned; `look`, that an account is to be compared."""
        self._database = database
        self._leases = leases
        self._clock = clock
        self._wake = wake
        self._look = look

    async def carry_out(self) -> None:
        """All that wait in our partitions, one after the other. Raises Unavailable."""
        parts = self._leases.parts()
        if not parts:
            return
        async with self._database.connection() as conn:
            query = "SELECT decision_id, tenant_id FROM find_drift_decisions(%s::smallint[])"
            found = await (await conn.execute(query, (parts,))).fetchall()
        for decision, tenant in found:
            scope = TenantScope(tenant_id=TenantID(tenant), actor=records.RECONCILER)
            try:
                await self._one(scope, decision)
            except LeaseLost as error:
                log.info("decision_left_to_the_next_owner", why=str(error))
            except PortcullisError as error:
                log.warning("decision_waits", decision=str(decision), error=str(error))
            except Exception:
                log.exception("decision_failed", decision=str(decision))

    async def _one(self, scope: TenantScope, decision: UUID) -> None:
        async with self._database.tenant(scope) as conn:
            asked = await rows.pending(conn, decision)
            strategy = None if asked is None else await rows.strategy_of(conn, asked)
        if asked is None:
            return
        signal: SignalID | None = None
        async with self._database.tenant(scope) as conn:
            if strategy is not None:
                await turn(conn, strategy)
            await self._leases.fence(conn, {asked.part: self._leases.epoch(asked.part)})
            drift = await rows.lock(conn, asked)
            if drift is None:
                return
            outcome, signal = await self._do(conn, scope, asked, drift, strategy)
            if outcome is not None:
                await rows.done(conn, asked.decision_id, outcome, self._clock.now())
        if outcome is None:
            return
        log.warning("drift_decided", drift=str(asked.drift_id), what=asked.what, outcome=outcome)
        if signal is not None and strategy is not None:
            self._wake(signal, strategy)
        self._look(asked.account_id)

    async def _do(
        self, conn: Connection, scope: TenantScope, asked: Pending, drift: Drift,
        strategy: StrategyID | None,
    ) -> tuple[str | None, SignalID | None]:  # fmt: skip
        """What became of it (None: nothing yet, it is looked at again), and the signal that was kept."""
        at = self._clock.now()
        if drift.state != "open":
            return f"nothing was done: the drift is {drift.state} already", None
        if asked.what == "halt":
            why = f"drift {asked.drift_id}: {asked.reason}"[:1000]
            at_ns = self._clock.now_ns()
            await make_stricter(
                conn, scope.tenant_id, asked.account_id, "halted", why, at, at_ns, asked.actor
            )
            return DONE, None
        if asked.what == "set_aside" or (asked.what == "accept" and drift.kind != "position"):
            await self._end(conn, scope, asked, "explained", at, None, [])
            return DONE, None
        if drift.kind == "order":
            return (
                "nothing was done: an order that is not ours is not put right by one of ours",
                None,
            )
        if asked.what == "correct" and drift.kind == "position" and drift.hedged:
            return (
                "nothing was done: in hedge mode the difference does not say which side is wrong;"
                " put it right at the broker, or accept it",
                None,
            )
        if strategy is None:
            return "nothing was done: several strategies could be meant; name one", None
        if await rows.under_way(conn, asked.account_id, drift.symbol or ""):
            return None, None
        held = await rows.held(conn, asked.account_id, drift.symbol or "")
        whole = sum(held.values(), Decimal(0))
        if whole != (drift.ours if drift.kind == "position" else drift.theirs):
            return "nothing was done: our book has moved since the drift was found", None
        entries: list[Entry] = []
        if drift.kind == "position":
            entries = await self._adjust(conn, scope, asked, drift, strategy, held, at)
        if asked.what == "accept":
            await self._end(conn, scope, asked, "explained", at, None, entries)
            return DONE, None
        target = held.get(strategy, Decimal(0))
        if drift.kind == "shortfall":
            target += drift.ours - drift.theirs
        signal = await self._correct(conn, scope, asked, drift, strategy, target, at)
        if signal is None:
            return "nothing was done: this drift was corrected before", None
        entries.append(accepted(asked, drift, strategy, signal, target, at))
        await self._end(conn, scope, asked, "corrected", at, signal, entries)
        return DONE, signal

    async def _adjust(
        self, conn: Connection, scope: TenantScope, asked: Pending, drift: Drift,
        strategy: StrategyID, held: dict[StrategyID, Decimal], at: datetime,
    ) -> list[Entry]:  # fmt: skip
        """The strategy's position takes up the whole difference."""
        before = held.get(strategy, Decimal(0))
        after = before + drift.theirs - drift.ours
        symbol = drift.symbol or ""
        await rows.adjust(conn, scope.tenant_id, asked.account_id, strategy, symbol, after, at)
        return [
            records.adjusted(
                asked.drift_id, asked.account_id, strategy, symbol, before, after, at, asked.actor,
                asked.reason,
            )
        ]  # fmt: skip

    async def _correct(
        self, conn: Connection, scope: TenantScope, asked: Pending, drift: Drift,
        strategy: StrategyID, target: Decimal, at: datetime,
    ) -> SignalID | None:  # fmt: skip
        signal, symbol = SignalID(new_id()), drift.symbol or ""
        kept = await rows.keep_signal(
            conn, scope.tenant_id, signal, strategy, str(asked.drift_id), symbol,
            body_of(symbol, target), asked.account_id, at,
        )  # fmt: skip
        return signal if kept else None

    async def _end(
        self, conn: Connection, scope: TenantScope, asked: Pending,
        state: Literal["explained", "corrected"], at: datetime, signal: SignalID | None,
        entries: Sequence[Entry],
    ) -> None:  # fmt: skip
        await rows.end(conn, asked, state, at, signal)
        kind = Kind.DRIFT_EXPLAINED if state == "explained" else Kind.DRIFT_CORRECTED
        said = {"decision": asked.what, "why": asked.reason}
        if signal is not None:
            said["signal_id"] = str(signal)
        told = records.ended(kind, asked.drift_id, asked.account_id, at, said, asked.actor)
        await append(conn, [(scope.tenant_id, entry) for entry in (*entries, told)])


def body_of(symbol: str, target: Decimal) -> bytes:
    """The signal of a correction: the position that is to come out, whatever is held by then. Pure."""
    return msgspec.json.encode(
        {"ticker": symbol, "action": "target", "targetPosition": plain(target), "cancel": False}
    )


def accepted(
    asked: Pending,
    drift: Drift,
    strategy: StrategyID,
    signal: SignalID,
    target: Decimal,
    at: datetime,
) -> Entry:
    """A signal of our own, as ingress would record a sender's. Pure."""
    payload = {
        "signal_id": str(signal), "strategy_id": str(strategy), "hook_id": rows.HOOK,
        "message_id": str(asked.drift_id), "drift_id": str(asked.drift_id),
        "symbol": drift.symbol, "target": plain(target), "accounts": [str(asked.account_id)],
    }  # fmt: skip
    return Entry(
        kind=Kind.SIGNAL_ACCEPTED, ts_ns=int(at.timestamp() * 1_000_000) * 1000, payload=payload,
        actor=records.RECONCILER, cor=asked.drift_id.hex,
    )  # fmt: skip
