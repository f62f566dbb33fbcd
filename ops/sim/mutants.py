"""Small breakages of the product, by name: an auditor that does not find one of them proves nothing.

    python -m ops.sim.mutants [NAME…] [--jobs J]

Each runs seeds until one fails, `most` at most. Exit status 1 where one was not found.
"""

# mypy: disable-error-code="assignment, method-assign, attr-defined"
from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import count, islice
from typing import Any

import msgspec

from fanout import (
    accounts,
    book,
    carry,
    intend,
    lanes,
    leases,
    reconcile_gate,
    retries,
    switch,
    writing,
)
from fanout import follow as following
from fanout.order import OrdState
from fanout.ports import AbsentProven, AbsentUnproven, InDoubt
from ops.sim.chance import drawn


@dataclass(frozen=True)
class Mutant:
    """`words`: what is broken. `most`: so many seeds are enough to find it, of that mood where it names one."""

    words: str
    apply: Callable[[], None]
    most: int
    mood: str = ""

    def seeds(self) -> list[int]:
        """Those that are tried, in their order."""
        named = (s for s in count(1) if not self.mood or drawn(s).name == self.mood)
        return list(islice(named, self.most))


# ------------------------------------------------------------------ carrying


def _sends_again_after_doubt() -> None:
    async def resolve(
        self: Any, scope: Any, account: Any, order: Any, *, sent_by: Any, epoch: int
    ) -> Any:
        proof = AbsentProven(evidence="surely it has not arrived")
        return await self._absent(scope, order, proof, epoch)

    carry.Carrier.resolve = resolve


def _takes_no_answer_for_absence() -> None:
    resolve = carry.Carrier.resolve

    async def guesses(self: Any, *given: Any, **more: Any) -> Any:
        broker = self._brokers["gateio"]
        find = type(broker).find

        async def find_once(adapter: Any, *args: Any, **kw: Any) -> Any:
            answer = await find(adapter, *args, **kw)
            absent = AbsentProven(evidence="nobody answered")
            return absent if isinstance(answer, AbsentUnproven) else answer

        type(broker).find = find_once
        try:
            return await resolve(self, *given, **more)
        finally:
            type(broker).find = find

    carry.Carrier.resolve = guesses


def _sends_the_same_again_when_in_doubt() -> None:
    pause_s = retries.Tries._pause_s

    def impatient(self: Any, outcome: Any, now: Any) -> float | None:
        return 0.05 if isinstance(outcome, InDoubt) else pause_s(self, outcome, now)

    retries.Tries._pause_s = impatient


def _ignores_the_deadline() -> None:
    send = carry.Carrier.send

    async def late(self: Any, scope: Any, account: Any, order: Any, **more: Any) -> Any:
        order = msgspec.structs.replace(order, deadline=order.deadline + timedelta(seconds=60))
        return await send(self, scope, account, order, **more)

    carry.Carrier.send = late


def _asks_no_switch() -> None:
    async def nothing(self: Any, order: Any) -> None:
        return None

    switch.Switch.refusal = nothing


def _opens_before_it_agrees() -> None:
    def is_open(self: Any, order: Any, epoch: int) -> bool:
        return True

    reconcile_gate.ReconcileGate.is_open = is_open


def _gives_up_what_closes() -> None:
    absent = carry.Carrier._absent

    async def once(self: Any, scope: Any, order: Any, *given: Any) -> Any:
        order = msgspec.structs.replace(order, attempt=self._patience.attempts_max)
        return await absent(self, scope, order, *given)

    carry.Carrier._absent = once


# ------------------------------------------------------------------ leases


def _checks_no_lease() -> None:
    def require(self: Any, part: int, epoch: int, for_s: float = 0.0) -> Any:
        return self._clock.now() + timedelta(seconds=60)

    leases.Leases.require = require


def _forgets_the_fence() -> None:
    async def all_ours(self: Any, conn: Any, epochs: Any) -> Any:
        return set(epochs)

    async def told() -> None:
        return None

    async def fenced(self: Any, conn: Any, epochs: Any) -> Any:
        return told

    leases.Leases.still_held = all_ours
    leases.Leases.ask_fence = fenced
    leases.Leases.require = lambda self, part, epoch, for_s=0.0: (
        self._clock.now() + timedelta(seconds=60)
    )


# ------------------------------------------------------------------ book and lanes


def _drops_a_fill() -> None:
    """(A lesson that is dropped whole, the sweep finds again: the order's row is still an intent.)"""
    advance = book.advance

    def forgetful(*given: Any) -> Any:
        progress = advance(*given)
        if progress is None or not progress.last_qty:
            return progress
        return msgspec.structs.replace(progress, last_qty=Decimal(0), last_px=None)

    book.advance = forgetful


def _sends_the_second_leg_at_once() -> None:
    order_of = intend.order_of

    def at_once(*given: Any, **more: Any) -> Any:
        order = order_of(*given, **more)
        return msgspec.structs.replace(order, state=OrdState.INTENT)

    intend.order_of = at_once


def _releases_the_second_leg_unfilled() -> None:
    release = book._release

    async def always(
        conn: Any, scope: Any, first: Any, waiting: Any, why_not: str, *more: Any
    ) -> Any:
        return await release(conn, scope, first, waiting, "", *more)

    book._release = always


def _adopts_in_no_order() -> None:
    loose = writing.Writer.loose

    async def none(self: Any, *given: Any) -> Any:
        await loose(self, *given)
        return []

    writing.Writer.loose = none


def _leaves_out_who_is_renewed() -> None:
    """As it was before 846b46b: struck off, so that who is asking goes without, and is sure of having all."""
    get = accounts.Accounts.get

    class Unguarded(dict[Any, Any]):
        asked: Any = ()

        def keys(self) -> Any:
            return dict.fromkeys(self.asked).keys()

    async def without(self: Any, scope: Any, ids: Any) -> Any:
        ids = list(ids)
        found = Unguarded(await get(self, scope, ids))
        found.asked = ids
        return found

    async def strike_off(self: Any, scope: Any, account: Any) -> None:
        self._kept.pop(account, None)

    accounts.Accounts.get = without
    accounts.Accounts.renew = strike_off


def _follows_nobody() -> None:
    def add(self: Any, job: Any) -> None:
        self._known.add(job.order.cl_ord_id)

    following.Follower.add = add


def _keeps_no_intent() -> None:
    """Now and then one leaves under a name that no row has."""
    send = lanes.Lanes._carry

    async def early(self: Any, job: Any) -> Any:
        if job.kind == "send":
            next_one = msgspec.structs.replace(
                job.order, cl_ord_id=f"{job.order.order_id}.{job.order.attempt + 500}"
            )
            account = job.account
            broker = self._carrier._brokers[job.order.broker]
            if job.order.cl_ord_id < "d":
                lease_ends = self._carrier._clock.now() + timedelta(seconds=1)
                await broker.submit(account, next_one, not_after=lease_ends)
        return await send(self, job)

    lanes.Lanes._carry = early


MUTANTS: dict[str, Mutant] = {
    "sends-again-after-doubt": Mutant(
        "doubt is taken for absence: the next attempt goes out at once", _sends_again_after_doubt, 10
    ),
    "no-answer-is-absence": Mutant(
        "a look-up without an answer counts as a proof of absence", _takes_no_answer_for_absence, 40
    ),
    "sends-the-same-again": Mutant(
        "a request in doubt is repeated under its own name", _sends_the_same_again_when_in_doubt, 10
    ),
    "ignores-the-deadline": Mutant("opens a minute after its deadline", _ignores_the_deadline, 120),
    "asks-no-switch": Mutant("the kill switch is not asked before a send", _asks_no_switch, 25, "halting"),
    "opens-before-it-agrees": Mutant(
        "an order opens before book and exchange were compared", _opens_before_it_agrees, 20
    ),
    "gives-up-what-closes": Mutant(
        "an order that closes is not sent again after a proof of absence", _gives_up_what_closes, 60
    ),
    "checks-no-lease": Mutant("no lease is looked at before a send", _checks_no_lease, 25, "sleepy"),
    "forgets-the-fence": Mutant(
        "neither sends nor commits look at the lease", _forgets_the_fence, 25, "sleepy"
    ),
    "drops-a-fill": Mutant("a fill moves the order and not the position", _drops_a_fill, 10),
    "second-leg-at-once": Mutant(
        "the second leg of a flip does not wait for the first", _sends_the_second_leg_at_once, 40
    ),
    "second-leg-unfilled": Mutant(
        "the second leg goes when the first has ended, filled or not",
        _releases_the_second_leg_unfilled, 60,
    ),
    "new-before-old": Mutant(
        "new orders do not wait in their lane for what a dead worker left", _adopts_in_no_order, 25, "dying"
    ),
    "leaves-out-who-is-renewed": Mutant(
        "an account whose key is replaced while others are read is left out, after the commit",
        _leaves_out_who_is_renewed, 25, "renewing",
    ),
    "follows-nobody": Mutant("what rests at the exchange is not asked about", _follows_nobody, 10),
    "sends-without-intent": Mutant(
        "an order leaves that no transaction has written", _keeps_no_intent, 10
    ),
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    from ops.sim.run import run

    parser = argparse.ArgumentParser(
        prog="python -m ops.sim.mutants", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("names", nargs="*", metavar="NAME", help="; ".join(MUTANTS))
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args(arguments)
    unknown = sorted(set(given.names) - set(MUTANTS))
    if unknown:
        parser.error(f"no such mutant: {', '.join(unknown)}; there are {', '.join(MUTANTS)}")
    missed = 0
    for name in given.names or MUTANTS:
        mutant = MUTANTS[name]
        seeds = mutant.seeds()
        found = None
        for result in run(
            seeds, jobs=given.jobs, mutant=name, enough=lambda r: bool(r["findings"])
        ):
            if result["findings"]:
                found = result
        missed += found is None
        if found is None:
            print(f"{name:24} NOT FOUND in {mutant.most} seeds: {mutant.words}", flush=True)
        else:
            print(f"{name:24} seed {found['seed']:3}: {found['findings'][0]}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
