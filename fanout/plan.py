"""plan(signal, snapshot, market, seed): every account's order, or the reason why there is none. Pure.

1. Put the accounts into the signal's fan-out order (fanout/sequence.py).
2. Put those into one *situation* that one judgement is right for (fanout/situations.py).
3. Judge each situation: states, connection, ticker, doubt (fanout/judge.py), then what is to be done
   with the position: the table of the signal language, or the way to a target (fanout/moves.py).
   The first that refuses wins and is named. What cannot be decided is refused.
4. Draft the order: inheritance, prices, the quantity's arithmetic (fanout/draft.py).
5. Size all accounts of a draft at once (fanout/sizing.py); split what is split (fanout/blocks.py).
6. Keep to the instrument's bounds, then to the limits, and write the legs (fanout/settle.py).
7. All or none, where the strategy has a quorum (fanout/quorum.py).

To follow one account: find its situation's `row`, and read on with every column's value at its place.

Where a person is to say yes first, the entry says so, and nothing of it is sent before (consent.py).
The same function makes a preview. Its result is one row, kept before any order exists, and with
the signal, the snapshot's version and the seed it can be computed again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import msgspec
import numpy as np

from fanout.blocks import Member, split
from fanout.case import Case
from fanout.consent import ask
from fanout.draft import Draft, cancelling, draft
from fanout.groups import Entries, Group, Leg, PlanEntry, chosen, listed
from fanout.judge import Moment, admit, may
from fanout.lots import lots_of
from fanout.mandate import SENDERS, Mandate
from fanout.market import Market
from fanout.modes import Formula, Share
from fanout.moves import Way, moves, size
from fanout.numbers import Numbers
from fanout.quorum import hold
from fanout.reasons import Reason
from fanout.sequence import fan_out_order
from fanout.settle import Sized, settle
from fanout.signal import Signal
from fanout.situations import WIDE_FROM, Situation, situations
from fanout.windows import Windows
from tenancy.paper import is_shadow
from tenancy.snapshot import Snapshot
from tenancy.values import SignalID, StrategyID, TenantID

__all__ = ["Leg", "Plan", "PlanEntry", "Rules", "make_plan"]


class Plan(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True,
    rename={"written": "entries"},
):  # fmt: skip
    """The whole decision, kept in groups (fanout/groups.py)."""

    signal_id: SignalID
    tenant_id: TenantID
    strategy_id: StrategyID
    version: int
    platform_revision: int = 0
    seed: int
    rotation: int
    planned_at: datetime
    deadline: datetime
    groups: tuple[Group, ...] = ()
    written: tuple[PlanEntry, ...] = ()
    """Of a plan that an earlier version wrote, account by account."""

    @cached_property
    def entries(self) -> Sequence[PlanEntry]:
        """Every account, in fan-out order."""
        return self.written or Entries(self.groups)

    @property
    def parts(self) -> list[int]:
        """The partitions in which something is to be done."""
        if self.written:
            return sorted({entry.part for entry in self.written if entry.acts})
        return sorted({part for group in self.groups if group.acts for part in group.part})

    def acting(self, parts: Container[int]) -> list[PlanEntry]:
        """The entries of these partitions for which something is to be done at once, in fan-out order."""
        if self.written:
            return [entry for entry in self.written if entry.acts and entry.part in parts]
        return chosen((group for group in self.groups if group.acts), parts)

    def with_reasons(self, reasons: Container[Reason]) -> list[PlanEntry]:
        """The entries that have one of these reasons, in fan-out order."""
        if self.written:
            return [entry for entry in self.written if entry.reason in reasons]
        return chosen(group for group in self.groups if group.reason in reasons)

    @property
    def reasons(self) -> Counter[Reason]:
        """How many accounts have each; shadows are no accounts of anybody's and are not counted."""
        counted = Counter(entry.reason for entry in self.written)
        for group in self.groups:
            if not is_shadow(group.broker):
                counted[group.reason] += len(group.place)
        return counted


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds from the settings, in seconds."""

    signal_age_max_s: float
    open_window_s: float
    """No attempt to open a position begins later than this after the plan."""


def make_plan(
    signal: Signal,
    snapshot: Snapshot,
    market: Market,
    *,
    signal_id: SignalID,
    received_at: datetime,
    planned_at: datetime,
    seed: int,
    rotation: int,
    rules: Rules,
    mandate: Mandate = SENDERS,
    wide_from: int = WIDE_FROM,
) -> Plan:
    """Decide for every account of the snapshot. `wide_from`: so many are planned in columns."""
    order = fan_out_order(
        len(snapshot.rows), snapshot.strategy.sequence, seed=seed, rotation=rotation
    )
    age_s = (planned_at - received_at).total_seconds()
    moment = Moment(
        too_old=age_s > rules.signal_age_max_s,
        expired=signal.expires_at is not None and planned_at >= signal.expires_at,
        windows=Windows(planned_at, market.calendars),
    )
    planner = _Planner(signal, snapshot, market, mandate, moment, planned_at, order)
    for situation in situations(snapshot, market, mandate, order, wide_from=wide_from):
        planner.judge(situation)
    return Plan(
        signal_id=signal_id,
        tenant_id=snapshot.strategy.tenant_id,
        strategy_id=snapshot.strategy.strategy_id,
        version=snapshot.strategy.version,
        platform_revision=snapshot.platform.revision,
        seed=seed,
        rotation=rotation,
        planned_at=planned_at,
        deadline=planned_at + timedelta(seconds=rules.open_window_s),
        groups=tuple(hold(planner.groups(), snapshot.strategy.settings)),
    )


class _Planner:
    """One plan while it is made: situations go in, groups come out."""

    def __init__(
        self,
        signal: Signal,
        snapshot: Snapshot,
        market: Market,
        mandate: Mandate,
        moment: Moment,
        planned_at: datetime,
        order: Sequence[int],
    ) -> None:
        self._signal = signal
        self._snapshot = snapshot
        self._market = market
        self._mandate = mandate
        self._moment = moment
        self._planned_at = planned_at
        self._places = np.empty(len(order), dtype=np.int64)
        self._places[order] = np.arange(len(order))
        self._groups: list[Group] = []
        self._members: list[Member] = []

    def judge(self, situation: Situation) -> None:
        """Settle what can be settled at once; members of a block wait for each other."""
        row, facts, numbers = situation
        case = admit(self._signal, self._snapshot, row, self._market, facts, self._mandate)
        if isinstance(case, Reason):
            self._refuse(numbers, row.account.broker, case)
            return
        for way in self._ways(case, numbers):
            made = self._draft(case, way)
            if isinstance(made, Reason):
                self._refuse(way.numbers, row.account.broker, made)
            elif isinstance(made.formula, Share):
                self._members.append(Member(made, way.numbers))
            else:
                self._settle(_sized(made, way))

    def groups(self) -> list[Group]:
        """All of them, once every situation is judged."""
        parts = split(self._members, self._places.tolist())
        for member, steps in zip(self._members, parts, strict=True):
            self._settle(Sized(member.draft, member.numbers, steps))
        return self._groups

    def _ways(self, case: Case, numbers: Numbers) -> Iterator[Way]:
        if self._signal.action == "cancel" and self._signal.target_position is None:
            return iter((Way(numbers, Reason.CANCEL_ONLY),))
        return moves(case, numbers)

    def _draft(self, case: Case, way: Way) -> Draft | Reason:
        move = way.move
        if move is Reason.CANCEL_ONLY:
            late = self._moment.expired and not case.row.settings.closes_when_expired.value
            return Reason.SIGNAL_EXPIRED if late else cancelling(case)
        if isinstance(move, Reason):
            if case.facts.in_doubt:
                return Reason.IN_DOUBT
            return move if case.allowed else Reason.TICKER_NOT_ALLOWED
        refusal = may(case, move, self._market, self._moment)
        return refusal if refusal is not None else draft(case, move, way.words)

    def _settle(self, sized: Sized) -> None:
        self._groups.extend(settle(sized, self._write))

    def _refuse(self, numbers: Numbers, broker: str, reason: Reason) -> None:
        self._groups.append(Group(reason=reason, broker=broker, **self._accounts(numbers)))

    def _accounts(self, numbers: Numbers) -> dict[str, Any]:
        identities, parts = numbers.who
        places = self._places[np.asarray(numbers.rows)]
        return {"place": places.tolist(), "account_id": identities, "part": parts}

    def _write(self, numbers: Numbers, made: Draft, reason: Reason, said: dict[str, Any]) -> Group:
        """A group of what settling says of these accounts."""
        row, instrument = made.case.row, made.case.instrument
        columns = said.pop("numbers", {})
        columns["position"] = listed(numbers.get("position"))
        if made.case.facts.equity:
            columns["equity"] = listed(numbers.get("said_equity"))
        asked = []
        if said.get("legs") and row.settings.needs_approval.value and not self._mandate.forced:
            reason = Reason.AWAITS_APPROVAL
            heeds = not self._signal.ignore_trading_windows
            for index in numbers.rows:
                question = ask(self._snapshot.rows[index], self._planned_at, heeds_windows=heeds)
                assert question is not None
                asked.append(question)
        return Group(
            reason=reason,
            broker=row.account.broker,
            symbol=instrument.symbol,
            source=made.source,
            price=made.price,
            market_price=made.market_price,
            signal_price=self._signal.reference_price,
            cancel_after_s=self._signal.cancel_after,
            numbers=columns,
            asked=asked,
            **said,
            **self._accounts(numbers),
        )


def _sized(made: Draft, way: Way) -> Sized:
    """The draft's size in whole steps of the lot, before the instrument's bounds."""
    numbers, instrument = way.numbers, made.case.instrument
    if way.amount is not None:
        step = lots_of(instrument, numbers).step
        return Sized(made, numbers, way.amount.values // step, way.amount, way.target)
    if isinstance(made.formula, Formula):
        return Sized(made, numbers, size(made.case, made.formula, numbers))
    if made.move is not None and made.move.size == "held":
        lots = lots_of(instrument, numbers)
        return Sized(made, numbers, lots.fine(numbers.get("held")) // lots.step)
    return Sized(made, numbers, 0)
