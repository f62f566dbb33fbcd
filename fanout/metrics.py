"""What Prometheus hears of the fan-out. Base units, bounded labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import get_args

from prometheus_client import Counter, Gauge, Histogram

from fanout.lifecycle import Surprise
from fanout.outcome import End
from fanout.reasons import LIMITS

LATENCY_BUCKETS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0,
)  # fmt: skip

PARTITIONS_HELD = Gauge("portcullis_partitions_held", "Partitions that this worker holds")
PLANS = Counter("portcullis_plans_total", "Plans committed")
PLAN_SECONDS = Histogram(
    "portcullis_plan_seconds",
    "From a signal's receipt to its plan's commit",
    buckets=LATENCY_BUCKETS,
)
PLANNED_ACCOUNTS = Counter(
    "portcullis_planned_accounts_total", "Accounts decided, by reason", ["reason"]
)
SIGNALS_WAITING = Gauge(
    "portcullis_signals_waiting", "Accepted signals of this worker's partitions without a plan"
)
SIGNALS_OLDEST = Gauge(
    "portcullis_signals_waiting_oldest_seconds",
    "For how long this worker has seen the one of them that it saw first; 0: there is none",
)
LIMITS_HIT = Counter(
    "portcullis_limits_hit_total",
    "Accounts whose order a limit refused, by limit; an order that was only made smaller is sent",
    ["limit"],
)
for _limit in LIMITS:
    LIMITS_HIT.labels(_limit.value)
ORDERS = Counter("portcullis_orders_total", "Attempts by broker and outcome", ["broker", "outcome"])
SUBMIT_SECONDS = Histogram(
    "portcullis_submit_seconds", "From a request's first byte to its outcome", ["broker"],
    buckets=LATENCY_BUCKETS,
)  # fmt: skip
FIRST_ORDER_SECONDS = Histogram(
    "portcullis_first_order_seconds",
    "From a plan, or a person's yes, to its first account's order on the wire; told when the signal is done",
    buckets=LATENCY_BUCKETS,
)
LAST_ORDER_SECONDS = Histogram(
    "portcullis_last_order_seconds",
    "The same to its last account's order on the wire",
    buckets=LATENCY_BUCKETS,
)
IN_DOUBT = Gauge("portcullis_orders_in_doubt", "Orders in doubt in this worker's lanes")
DOUBT_OLDEST = Gauge(
    "portcullis_doubt_oldest_seconds",
    "How long the oldest order of this worker is in doubt, or closes a position and cannot be sent",
)
LANES_BUSY = Gauge("portcullis_lanes_busy", "Lanes with work")
LANES_WAITING = Gauge(
    "portcullis_lanes_waiting", "Lanes in which orders wait behind the one at work"
)
LANE_OLDEST = Gauge(
    "portcullis_lane_oldest_seconds",
    "For how long the lane that has been at one thing longest has been at it; 0: none is at work",
)
SURPRISES = Counter(
    "portcullis_surprising_reports_total",
    "Reports that the book had ruled out, by what is odd about them (fanout/lifecycle.py)",
    ["surprise"],
)
for _surprise in get_args(Surprise):
    SURPRISES.labels(_surprise)  # an alert asks for the increase: the first one counts, too
SWITCH_AGE = Gauge(
    "portcullis_switch_age_seconds", "Since this worker knew where the kill switch stands"
)
SWITCH_STOPS = Gauge(
    "portcullis_switch_stops",
    "What does not trade freely, as this worker knows it: layers by state (of a group: its accounts)",
    ["what", "state"],
)
SWITCH_DENIED = Counter(
    "portcullis_switch_denied_total", "Orders that the kill switch stopped before they were sent",
    ["reason"],
)  # fmt: skip
INTERVENTION_AGE = Gauge(
    "portcullis_intervention_age_seconds",
    "Since the oldest intervention that this worker drives began; 0: none is under way",
)
INTERVENTIONS_LATE = Counter(
    "portcullis_interventions_late_total",
    "Interventions that were not done in time, by level",
    ["level"],
)
for _level in ("cancel_open", "flatten"):  # the others are done when they are said
    INTERVENTIONS_LATE.labels(_level)
LEARN_BATCH = Histogram(
    "portcullis_learn_batch_size",
    "Outcomes per transaction",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
SWEEPS = Counter(
    "portcullis_sweeps_total", "Sweeps that found work a wake-up had not brought", ["kind"]
)
BROKER_UP = Gauge("portcullis_broker_up", "Whether the broker answered last time", ["broker"])
WAKE_FAILURES = Counter("portcullis_wake_failures_total", "Wake-ups that Redis did not take")
WAKE_DROPPED = Counter("portcullis_wake_dropped_total", "Wake-ups left to the sweep")
HELD = Gauge(
    "portcullis_held_orders", "Orders that this worker's stop engine watches the market for"
)
HELD_BLIND = Gauge(
    "portcullis_held_orders_without_price", "Held orders whose price is missing, or too old"
)
HELD_PRICE_AGE = Gauge(
    "portcullis_held_price_age_seconds", "Age of the oldest price that a held order is watched by"
)
TRIGGERS = Counter(
    "portcullis_held_released_total",
    "Held orders let go, by what they were and where they went",
    ["kind", "to"],
)
LOOK_SECONDS = Histogram(
    "portcullis_stop_look_seconds", "One look of the stop engine at all that it holds",
    buckets=LATENCY_BUCKETS,
)  # fmt: skip
AUDIT_REFUSED = Counter(
    "portcullis_orders_without_audit_total",
    "Orders that were not sent because their audit record was not durable in time",
)
SPILLED = Counter(
    "portcullis_spilled_total",
    "Acts that were durable on this host alone when they began",
    ["kind"],
)
SPILL_WAITING = Gauge(
    "portcullis_spill_lines", "Lines of this worker's spill that are not in the log yet"
)
SPILL_FAILURES = Counter(
    "portcullis_spill_failures_total",
    "Spills that the disk refused, or that do not read as written",
)
STATEMENTS = Counter(
    "portcullis_statements_total",
    "Days of accounts whose fills were compared with the broker's",
    ["result"],
)
for _result in ("agreed", "differ"):  # an alert asks for the increase: the first one counts, too
    STATEMENTS.labels(_result)
STATEMENTS_UNCHECKED = Gauge(
    "portcullis_statements_unchecked", "Days of accounts that their broker gave no statement of yet"
)
RECONCILED = Gauge(
    "portcullis_reconciled_accounts",
    "Accounts of this worker by what the last comparison with their broker said",
    ["state"],
)
RECONCILED_AGE = Gauge(
    "portcullis_reconciled_age_seconds",
    "Since the account of this worker that was compared longest ago was; 0: there is none",
)
DRIFTS = Gauge(
    "portcullis_drifts_open", "Open drifts of this worker's partitions by cause", ["cause"]
)
GATED = Counter(
    "portcullis_orders_not_reconciled_total",
    "Orders that ended because their account did not agree with its broker in time",
)
OUTCOMES = Counter(
    "portcullis_signal_outcomes_total",
    "Signals that were done, each told once, by what became of all their accounts together",
    ["outcome"],
)
for _end in get_args(End):
    OUTCOMES.labels(_end)

UNPROVEN = Gauge(
    "portcullis_credentials_unproven",
    "Credentials that this worker has no proof of yet, or asks about again",
)
PROOFS = Counter("portcullis_credential_proofs_total", "Answers of brokers about keys", ["outcome"])

BUDGET_SHARED = Gauge(
    "portcullis_budget_shared",
    "1: Redis gives out the broker's places; 0: this worker goes on with its own share", ["broker"],
)  # fmt: skip
BUDGET_WAITING = Gauge(
    "portcullis_budget_waiting", "Orders that wait for a place in the broker's limit", ["broker"]
)
BUDGET_LIMIT = Gauge(
    "portcullis_budget_limit_places",
    "Requests that the broker's limit allows one account in each of its windows", ["broker"],
)  # fmt: skip
BUDGET_WINDOW = Gauge(
    "portcullis_budget_window_seconds", "How long the window of the broker's limit is", ["broker"]
)
BUDGET_USED = Counter(
    "portcullis_budget_places_total", "Places in the broker's limit that were used here", ["broker"]
)
BUDGET_WAIT_SECONDS = Histogram(
    "portcullis_budget_wait_seconds", "How long an order waited for its place", ["broker"],
    buckets=LATENCY_BUCKETS,
)  # fmt: skip
BUDGET_EXHAUSTED = Gauge(
    "portcullis_budget_exhausted_accounts",
    "Accounts whose limit is used up just now: orders of theirs wait for the next place", ["broker"],
)  # fmt: skip
BREAKERS_OPEN = Gauge(
    "portcullis_breakers_open",
    "Brokers, or accounts of one, that do not answer: what opens waits (fanout/breaker.py)",
    ["broker", "of"],
)
ORDERS_WAITING = Gauge(
    "portcullis_orders_waiting",
    "Orders that certainly did not arrive and wait to be sent, by what they wait for",
    ["broker", "why"],
)
HINTS = Counter("portcullis_hints_total", "What brokers told by themselves", ["broker", "kind"])
HINT_STREAMS = Gauge("portcullis_hint_streams", "Accounts whose broker tells this worker of them")
DEAD_MEN = Gauge(
    "portcullis_dead_man_accounts",
    "Accounts with open orders whose broker is to cancel them when we are silent, by its own word",
    ["broker", "state"],
)


def stopped(counted: Mapping[tuple[str, str], int], whats: Iterable[str]) -> None:
    """How many layers of each kind in `whats` are in which state, by (what, state); the others are 0."""
    for what in whats:
        for state in ("reducing", "halted"):
            SWITCH_STOPS.labels(what, state).set(counted.get((what, state), 0))


def reconciled(states: Mapping[str, int]) -> None:
    """How many accounts are in which state."""
    for state, count in states.items():
        RECONCILED.labels(state).set(count)


def drifts_open(found: Mapping[str, int], causes: Iterable[str]) -> None:
    """How many drifts are open by cause: each of `causes`, so that one that ended is 0 and not its last number."""
    for cause in causes:
        DRIFTS.labels(cause).set(found.get(cause, 0))
