"""The moments on the way of a signal at which a process can be made to die, by name.

Each function wraps one method of the product, in the process that is to die and nowhere else, and
raises SIGKILL there: nothing runs after it, no handler, no `finally`. The product has no hooks.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import gateway.hooks.accept
from fanout import (
    approvals,
    book,
    doubt_rows,
    drift_rows,
    intervention_rows,
    outcome_rows,
    plan_rows,
    proving_rows,
    reconcile_rows,
    stops,
    stops_book,
    stops_store,
)
from fanout.brokers.gate.client import GateClient
from fanout.brokers.gateio.adapter import GateioBroker
from fanout.carry import Carrier
from fanout.doubts import Doubts
from fanout.intake import Intake
from fanout.intend import Intender
from fanout.intend_approved import ApprovedIntender
from fanout.interventions import Interventions
from fanout.learner import Learner
from fanout.order import FINAL
from fanout.outcomes import Outcomes
from fanout.proving import Prover
from fanout.stops import StopEngine
from fanout.switch import Switch
from fanout.writing import Claimed, Writer


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def freeze() -> None:
    """Sleep through everything, as a paused virtual machine does, until somebody says SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)


def _frozen_before(owner: Any, name: str, when: Callable[..., bool]) -> None:
    original = getattr(owner, name)
    slept = False

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal slept
        if not slept and when(*args, **kwargs):
            slept = True
            freeze()
        return await original(*args, **kwargs)

    setattr(owner, name, wrapped)


def _before(owner: Any, name: str, when: Callable[..., bool] = lambda *a, **k: True) -> None:
    original = getattr(owner, name)

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        if when(*args, **kwargs):
            die()
        return await original(*args, **kwargs)

    setattr(owner, name, wrapped)


def _after(owner: Any, name: str, when: Callable[[Any], bool] = lambda result: True) -> None:
    original = getattr(owner, name)

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = await original(*args, **kwargs)
        if when(result):
            die()
        return result

    setattr(owner, name, wrapped)


def _is_post(_client: Any, request: Any, *_: Any) -> bool:
    return bool(request.method == "POST")


def _is_order(_client: Any, _account: Any, request: Any) -> bool:
    return bool(request.method == "POST")


def _after_post() -> None:
    original = GateClient.send

    async def wrapped(client: Any, request: Any, headers: Any) -> Any:
        answer = await original(client, request, headers)
        if request.method == "POST":
            die()
        return answer

    GateClient.send = wrapped  # type: ignore[method-assign]


def _while_posting() -> None:
    """The bytes have left; the exchange has not executed them yet."""
    original = GateClient.send

    async def wrapped(client: Any, request: Any, headers: Any) -> Any:
        if request.method == "POST":
            asyncio.get_running_loop().call_later(0.1, die)
        return await original(client, request, headers)

    GateClient.send = wrapped  # type: ignore[method-assign]


def _any_orders(_self: Any, _scope: Any, orders: Any) -> bool:
    return bool(list(orders))


def _any_begun(begun: Any) -> bool:
    return any(one.chunks for one in begun)


def _has_begun(_self: Any, _scope: Any, _signal: Any, made: Any) -> bool:
    return bool(made.begun.chunks)


def _leg_closed(consequence: Any) -> bool:
    order = consequence.order
    return bool(order.leg == 0 and order.cum_qty == order.order_qty and consequence.sends)


def _attempt_follows(consequence: Any) -> bool:
    return bool(consequence.sends and consequence.sends.attempt > 1)


def _final(consequence: Any) -> bool:
    return bool(consequence.order.state in FINAL)


def _let_go() -> None:
    """Its intent is committed, and in its lane; nothing has awaited since, so nothing was sent."""
    original = StopEngine._learn

    def wrapped(engine: StopEngine, out: Any) -> None:
        if out.sent:
            die()
        original(engine, out)

    StopEngine._learn = wrapped  # type: ignore[method-assign]


def _intents_apart() -> None:
    """Of a worker that has a key to ask for first: reconciliation brings it the key, too, now and then sooner."""

    async def none_at_hand(*_: Any) -> bool:
        return False

    Writer.ready = none_at_hand  # type: ignore[method-assign]


def _after_plan() -> None:
    _intents_apart()
    _before(Intake, "_intend")


def _after_first_chunk() -> None:
    _intents_apart()
    _after(Intender, "_write")


STEPS: dict[str, Callable[[], None]] = {
    "accept_before_commit": lambda: _before(gateway.hooks.accept, "commit"),
    "accept_after_commit": lambda: _after(gateway.hooks.accept, "commit"),
    "plan_before_commit": lambda: _after(plan_rows, "list_parts"),
    "plan_after_commit": _after_plan,
    "plan_with_intents_before_commit": lambda: _after(Intender, "begin", _any_begun),
    "plan_with_intents_after_commit": lambda: _before(Intake, "_intend", _has_begun),
    "intents_before_commit": lambda: _after(Claimed, "write"),
    "intents_after_first_chunk": _after_first_chunk,
    "approved_before_intents": lambda: _before(ApprovedIntender, "_carry"),
    "approved_before_commit": lambda: _after(approvals, "carry"),
    "approved_after_commit": lambda: _after(ApprovedIntender, "_carry"),
    "expire_before_commit": lambda: _after(approvals, "expire_due"),
    "send_before": lambda: _before(GateClient, "send", _is_post),
    "send_under_way": _while_posting,
    "send_after": _after_post,
    "learn_before_commit": lambda: _after(book, "learn"),
    "learn_after_commit": lambda: _after(Learner, "learn", _final),
    "learn_after_first_leg": lambda: _after(Learner, "learn", _leg_closed),
    "resolve_asking": lambda: _before(GateioBroker, "find"),
    "resolve_answered": lambda: _after(GateioBroker, "find"),
    "doubt_written": lambda: _after(Doubts, "_of_tenant"),
    "decision_before_commit": lambda: _after(doubt_rows, "settle", lambda records: bool(records)),
    "absent_after_commit": lambda: _after(Learner, "learn", _attempt_follows),
    "frozen_before_signing": lambda: _frozen_before(GateClient, "sign", _is_order),
    "frozen_before_send": lambda: _frozen_before(GateClient, "send", _is_post),
    "switch_denied_before_learning": lambda: _after(
        Switch, "refusal", lambda refused: bool(refused)
    ),
    "wishes_before_commit": lambda: _after(
        intervention_rows, "want_cancelled", lambda wished: bool(wished)
    ),
    "wishes_after_commit": lambda: _before(Interventions, "_to_lanes", _any_orders),
    "exit_before_commit": lambda: _after(intervention_rows, "send_exit"),
    "exit_after_commit": lambda: _after(Interventions, "_exit", lambda sent: bool(sent)),
    "intervention_before_end": lambda: _after(intervention_rows, "end"),
    "release_before_commit": lambda: _after(stops, "release", lambda out: bool(out.sent)),
    "release_after_commit": _let_go,
    "stop_moved_before_commit": lambda: _after(stops_store, "move"),
    "protect_before_commit": lambda: _after(stops_book, "after_fills", lambda e: bool(e.new)),
    "pair_before_commit": lambda: _after(stops_book, "end_held", lambda records: bool(records)),
    "drift_before_commit": lambda: _after(reconcile_rows, "find"),
    "drift_decision_before_commit": lambda: _after(drift_rows, "done"),
    "timed_before_commit": lambda: _after(stops_store, "end_timed"),
    "outcome_before_commit": lambda: _after(
        outcome_rows, "finish", lambda finished: bool(finished)
    ),
    "outcome_after_commit": lambda: _after(Outcomes, "_write"),
    "proof_answered": lambda: _after(GateioBroker, "prove"),
    "proof_before_commit": lambda: _after(proving_rows, "keep"),
    "proof_after_commit": lambda: _after(Prover, "_prove"),
    "cancel_before": lambda: _before(Carrier, "cancel"),
    "cancel_after": lambda: _after(GateioBroker, "cancel"),
}
