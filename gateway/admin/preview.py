"""Preview: every account's order or reason, had the signal come now, as things stand or as they might be set up.

A question with a body, so a POST; it changes nothing, whoever may read plans may ask it, and its answer
is kept nowhere. Its entries have the form that the entries of a plan have (gateway/admin/plans.py).
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from fanout.pictures import World
from fanout.plan import Plan
from fanout.preview import Previewed, preview, read_only
from fanout.reasons import Reason
from fanout.shadows import everybody
from fanout.signal import MAX_BYTES, Signal, decode
from fanout.totals import Totals, totals
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.plans import PlannedAccount, WrittenPlan, entries_of
from tenancy.ids import new_id
from tenancy.proposed import Proposed
from tenancy.strategy import Sequence
from tenancy.values import SignalID, StrategyID

Decision = Literal["order", "asked", "nothing"]
SignalBody = Annotated[
    msgspec.Raw,
    Meta(
        description="The signal, as a sender would write it.",
        extra_json_schema={"type": "object"},
    ),
]


class PreviewDocument(Proposed, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A signal, and what would be set up otherwise than it is."""

    signal: SignalBody


class PicturedBroker(msgspec.Struct, frozen=True, kw_only=True):
    """How old the prices are. Not `fresh`: its accounts are planned as not connected."""

    broker: str
    as_of: datetime
    age_ms: int
    fresh: bool
    instruments: int


class PreviewedAccount(PlannedAccount, frozen=True, kw_only=True):
    """As in a plan, and whose it is. `asked`: a person's yes would come before the order."""

    name: str
    subscription_id: UUID
    decision: Decision


class PreviewView(msgspec.Struct, frozen=True, kw_only=True):
    """The whole decision, in fan-out order; nothing of it was written, nothing will be sent.

    `rotation` is the one that the strategy's next plan has; where the order is random, the seed of a
    real signal is another one, and so is the order.
    """

    strategy_id: UUID
    settings_version: int
    platform_revision: int
    proposed: bool
    """Whether anything else than what is set up was asked about."""
    sequence: Sequence
    rotation: int
    seed: str
    planned_for: datetime
    quorum: Literal["met", "not_met"] | None
    """Null: the strategy has none."""
    brokers: list[PicturedBroker]
    totals: Totals
    entries: list[PreviewedAccount]


_PLAN = msgspec.json.Decoder(WrittenPlan)


def read_signal(raw: msgspec.Raw) -> Signal:
    """The signal in a body. Raises InvalidSignal."""
    return decode(bytes(raw)[: MAX_BYTES + 1])


def pictured(world: World) -> list[PicturedBroker]:
    """How old each broker's picture is."""
    return [
        PicturedBroker(
            broker=one.broker,
            as_of=one.as_of,
            age_ms=int(one.age_s * 1000),
            fresh=one.fresh,
            instruments=len(one.instruments),
        )
        for one in world.seen
    ]


def view(made: Previewed, world: World, *, proposed: bool) -> PreviewView:
    """As the API shows it. Pure."""
    plan, strategy = made.plan, made.snapshot.strategy
    # By way of the plan's own bytes: a preview is shown as the plan would be.
    written = _PLAN.decode(msgspec.json.encode(plan))
    rows = {row.account.account_id: row for row in everybody(made.snapshot).rows}
    return PreviewView(
        strategy_id=plan.strategy_id,
        settings_version=plan.version,
        platform_revision=plan.platform_revision,
        proposed=proposed,
        sequence=strategy.sequence,
        rotation=plan.rotation,
        seed=str(plan.seed),
        planned_for=plan.planned_at,
        quorum=_quorum(made),
        brokers=pictured(world),
        totals=totals(plan, made.market.instruments),
        entries=[
            PreviewedAccount(
                name=rows[shown.account_id].account.name,  # type: ignore[index]
                subscription_id=rows[shown.account_id].subscription_id,  # type: ignore[index]
                decision=_decision(shown),
                **{member: getattr(shown, member) for member in shown.__struct_fields__},
            )
            for shown in entries_of(written.entries)
        ],
    )


def _decision(entry: PlannedAccount) -> Decision:
    if not entry.legs:
        return "nothing"
    return "order" if entry.asked is None else "asked"


def _quorum(made: Previewed) -> Literal["met", "not_met"] | None:
    settings = made.snapshot.strategy.settings
    if settings.quorum_percent is None and not settings.quorum_accounts:
        return None
    return "not_met" if _refused_by_quorum(made.plan) else "met"


def _refused_by_quorum(plan: Plan) -> bool:
    return any(entry.reason is Reason.QUORUM_NOT_MET for entry in plan.entries)


async def _preview(call: Call) -> Result:
    asked: PreviewDocument = call.body
    signal = read_signal(asked.signal)
    await read_only(call.conn)
    world = await call.services.pictures.read(call.conn)
    made = await preview(
        call.conn,
        StrategyID(call.uuid("strategy_id")),
        signal,
        SignalID(new_id()),
        world,
        call.services.calendars,
        call.services.clock.now(),
        asked,
    )
    # Ten thousand accounts take a quarter of a second: beside the event loop.
    content = await asyncio.to_thread(view, made, world, proposed=not asked.empty)
    return Result(content=content)


OPERATIONS = (
    Operation(
        name="preview_signal", method="POST", path="/v1/strategies/{strategy_id}/preview",
        tag="Signals", action="orders:read", question=True,
        summary="See what a signal would do at every account now; nothing is written or sent.",
        detail="`settings`, `limits`, `sequence` and `subscriptions` stand in place of what is set up,"
        " for this answer alone.",
        handle=_preview, body=PreviewDocument, answer=PreviewView,
        problems=("not_found", "invalid_signal", "unresolvable", "unavailable"),
    ),
)  # fmt: skip
