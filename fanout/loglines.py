"""What a worker writes into its log of a signal: one line for its plan, one for its outcome.

Ids, counts and milliseconds; no ticker, no quantity, no price: docs/operating/logs-and-traces.md. The
words are the same as in the plan and the outcome, so that a line is found by what the console shows.
"""

from __future__ import annotations

from datetime import datetime

import structlog

from fanout.outcome import Outcome, ms
from fanout.plan import Plan
from fanout.trace import trace_id
from tenancy.values import SignalID, StrategyID

log = structlog.get_logger()


def planned(plan: Plan, traceparent: str, due_at: datetime) -> None:
    """A plan was committed; `due_at`: when the signal was received, or was to be planned."""
    reasons = plan.reasons
    log.info(
        "signal_planned",
        trace_id=trace_id(traceparent),
        signal_id=str(plan.signal_id),
        tenant_id=str(plan.tenant_id),
        strategy_id=str(plan.strategy_id),
        version=plan.version,
        accounts=reasons.total(),
        reasons={reason.value: count for reason, count in sorted(reasons.items())},
        parts=len(plan.parts),
        plan_ms=ms(plan.planned_at - due_at),
    )


def not_understood(
    signal: SignalID, strategy: StrategyID, traceparent: str, error: Exception
) -> None:
    """A kept signal that this version cannot read; the error's text may repeat it, its place does not."""
    log.warning(
        "signal_outcome",
        trace_id=trace_id(traceparent),
        signal_id=str(signal),
        strategy_id=str(strategy),
        state="refused",
        field=getattr(error, "field", None),
    )


def ended(outcome: Outcome, traceparent: str) -> None:
    """A signal is done, and this worker was the one to say so."""
    latency = outcome.latency
    assert outcome.done_at is not None
    log.info(
        "signal_outcome",
        trace_id=trace_id(traceparent),
        signal_id=outcome.signal_id,
        strategy_id=outcome.strategy_id,
        state=outcome.state,
        accounts=outcome.accounts,
        states=outcome.states,
        plan_ms=latency.plan_ms,
        send_ms_p95=latency.send_ms.p95 if latency.send_ms else None,
        ack_ms_p95=latency.ack_ms.p95 if latency.ack_ms else None,
        took_ms=ms(outcome.done_at - outcome.received_at),
    )
