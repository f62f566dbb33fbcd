"""What a worker tells of a signal, to the log, to Prometheus and to the trace: its plan, and its outcome.

One line for each, with ids, counts and milliseconds; no ticker, no quantity, no price
(docs/operating/logs-and-traces.md). The words are those of the plan and the outcome, so that a line is
found by what the console shows.
"""

from __future__ import annotations

from datetime import datetime

import structlog

from fanout import metrics
from fanout.outcome import Outcome, end, ms
from fanout.plan import Plan
from fanout.reasons import LIMITS
from fanout.trace import told, trace_id
from tenancy.values import SignalID, StrategyID

log = structlog.get_logger()


def planned(plan: Plan, traceparent: str, due_at: datetime) -> None:
    """A plan was committed; `due_at`: when the signal was received, or was to be planned."""
    reasons = plan.reasons
    metrics.PLANS.inc()
    for reason, accounts in reasons.items():
        metrics.PLANNED_ACCOUNTS.labels(reason.value).inc(accounts)
        if reason in LIMITS:
            metrics.LIMITS_HIT.labels(reason.value).inc(accounts)
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
    """A kept signal that this version cannot read. The error's text may repeat it; its place does not."""
    metrics.OUTCOMES.labels("refused").inc()
    log.warning(
        "signal_outcome",
        trace_id=trace_id(traceparent),
        signal_id=str(signal),
        strategy_id=str(strategy),
        state="refused",
        field=getattr(error, "field", None),
    )


def ended(outcome: Outcome, first_ms: float | None, traceparent: str, begun_ns: int) -> None:
    """A signal is done, and this worker was the one to say so, in a transaction that began at `begun_ns`.

    `first_ms`: from the plan, or a person's yes, to the first account's order on the wire.
    """
    latency = outcome.latency
    metrics.OUTCOMES.labels(end(outcome.state, outcome.states)).inc()
    if first_ms is not None:
        metrics.FIRST_ORDER_SECONDS.observe(first_ms / 1000)
    if latency.send_ms is not None:
        metrics.LAST_ORDER_SECONDS.observe(latency.send_ms.most / 1000)
    log.info(
        "signal_outcome",
        trace_id=trace_id(traceparent),
        signal_id=outcome.signal_id,
        strategy_id=outcome.strategy_id,
        state=outcome.state,
        accounts=outcome.accounts,
        states=outcome.states,
        plan_ms=latency.plan_ms,
        first_ms=first_ms,
        last_ms=latency.send_ms.most if latency.send_ms else None,
        took_ms=ms(outcome.done_at - outcome.received_at) if outcome.done_at else None,
    )
    said = {"signal_id": outcome.signal_id, "accounts": outcome.accounts}
    states = {f"accounts.{state}": count for state, count in outcome.states.items()}
    told(traceparent, "outcome", said | states, begun_ns=begun_ns)
