"""What can go wrong in a run: one line per kind, and what must be seen to say that it happened.

A kind is `what:whom`. `ops/chaos/storm.py` carries them out; docs/operating/faults.md is this table,
word for word (tests/unit/ops/test_chaos.py). The exchange's kinds are rules of its simulator.
"""

from __future__ import annotations

from random import Random
from typing import Any, Literal

import msgspec

Needs = Literal["root", "compiler"]


class Kind(msgspec.Struct, frozen=True):
    """One line of the table. `weight`: how often, beside the others. `rule`: of the simulator, else nothing."""

    name: str
    weight: int
    does: str
    seen: str
    rule: dict[str, Any] | None = None
    needs: Needs | None = None

    @property
    def what(self) -> str:
        return self.name.partition(":")[0]

    @property
    def whom(self) -> str:
        return self.name.partition(":")[2]


ORDERS = "/api/v4/futures/usdt/orders"
LOOKUPS = "/api/v4/futures/usdt/*"

_ENDED = "that very process was gone"
_STOPPED = "the kernel called it stopped"
_HIT = "the exchange counted a request that was met"
_TOLD = "the exchange counted a message that was met"
_CUT = "at least one connection was cut"
_HELD = "bytes came and were not passed on"
_FULL = "a write there failed for want of space"


def _kill(whom: str, weight: int) -> Kind:
    return Kind(f"kill:{whom}", weight, f"SIGKILL of {whom}", _ENDED)


def _freeze(whom: str, weight: int) -> Kind:
    return Kind(f"freeze:{whom}", weight, f"SIGSTOP of {whom} for 1–7 s, then SIGCONT", _STOPPED)


def _order(kind: str, weight: int, does: str, **rule: Any) -> Kind:
    """Every order that comes for a while is met so."""
    return Kind(
        f"exchange:{kind}", weight, does, _HIT, {"kind": kind, "path": ORDERS, "times": 1, **rule}
    )


def _push(kind: str, does: str, **rule: Any) -> Kind:
    return Kind(f"stream:{kind}", 2, does, _TOLD, {"kind": kind, "times": 1, **rule})


KINDS: tuple[Kind, ...] = (
    _kill("ingress", 12),
    _kill("admin", 4),
    _kill("worker", 24),
    _kill("signer", 8),
    _kill("enroller", 2),
    _kill("recorder", 8),
    _kill("clock", 2),
    _kill("redis", 6),
    _kill("postgres", 6),
    Kind("kill:backend", 3, "SIGKILL of one PostgreSQL session; all others end with it", _ENDED),
    _freeze("ingress", 3),
    _freeze("admin", 2),
    _freeze("worker", 8),
    _freeze("signer", 3),
    _freeze("enroller", 1),
    _freeze("recorder", 2),
    _freeze("clock", 1),
    _freeze("redis", 3),
    _freeze("postgres", 2),
    Kind("freeze:backend", 3, "SIGSTOP of one PostgreSQL session of the workers for 1–7 s", _STOPPED),
    Kind("restart:postgres-fast", 3, "PostgreSQL ended with SIGINT, and started again", _ENDED),
    Kind("restart:postgres-immediate", 3, "PostgreSQL ended with SIGQUIT: recovery", _ENDED),
    Kind("terminate:sessions", 4, "all of PostgreSQL's sessions of ours ended", "it ended some"),
    Kind("flush:redis", 6, "FLUSHALL", "Redis counted the command"),
    Kind("restart:redis", 3, "Redis ended with SIGTERM, and started again, empty", _ENDED),
    _order("drop_before", 6, "orders: cut before execution", lasting_s=0.8),
    _order("drop_after", 8, "orders: cut after execution", lasting_s=0.8),
    _order("500_before", 4, "orders: 500 before execution", lasting_s=0.8),
    _order("500_after", 6, "orders: 500 after execution", lasting_s=0.8),
    _order("hang_before", 4, "orders: silence, not executed", seconds=3.0, lasting_s=0.4),
    _order("hang_after", 6, "orders: silence after execution", seconds=3.0, lasting_s=0.4),
    _order("delay_before", 6, "orders: 2 s before execution", seconds=2.0, lasting_s=0.5),
    _order("delay_after", 4, "orders: the answer 1 s late", seconds=1.0, lasting_s=0.8),
    _order("half_open_before", 3, "orders: dead connection, not executed", lasting_s=0.3),
    _order("half_open_after", 3, "orders: dead connection after execution", lasting_s=0.3),
    _order("unknown_enum", 3, "orders: answers in words that nobody knows", lasting_s=0.8),
    _order("empty_201", 3, "orders: answers without a body", lasting_s=0.8),
    _order("429", 6, "a storm of 429 on everything, 2 s", method="*", path=LOOKUPS, lasting_s=2.0),
    _order("maintenance", 4, "503 on everything, 3 s", method="*", path="/api/v4/*", lasting_s=3.0),
    Kind("exchange:lookups", 6, "look-ups: 500, 2 s", _HIT,
         {"kind": "500_before", "method": "GET", "path": LOOKUPS, "times": 1, "lasting_s": 2.0}),
    _push("ws_drop", "messages lost, 1 s", lasting_s=1.0),
    _push("ws_late", "messages 1.5 s late, for 1 s", seconds=1.5, lasting_s=1.0),
    _push("ws_duplicate", "messages twice, 1 s", lasting_s=1.0),
    _push("ws_reorder", "messages out of order, 1 s", lasting_s=1.0),
    _push("ws_gap", "2 s of messages lost", seconds=2.0),
    _push("ws_silence", "2 s of silence, pings too", seconds=2.0),
    _push("ws_cut", "WebSockets cut, 0.5 s", lasting_s=0.5),
    Kind("cut:exchange", 6, "every connection from workers to the exchange cut", _CUT),
    Kind("half_open:exchange", 4, "these connections dead for 1–7 s, then cut", _HELD),
    Kind("stall:exchange", 4, "nothing passes for 1–7 s, and then all of it", _HELD),
    Kind("cut:database", 6, "every connection from workers to PostgreSQL cut", _CUT),
    Kind("half_open:database", 3, "these connections dead for 1–7 s, then cut", _HELD),
    Kind("stall:database", 3, "nothing passes for 1–7 s, and then all of it", _HELD),
    Kind("full:audit", 4, "the disk of the audit log's files full for 1–7 s", _FULL, needs="root"),
    Kind("full:spill", 3, "the disk of the spill full for 1–7 s", _FULL, needs="root"),
    Kind("full:postgres", 3, "PostgreSQL's disk full for 1–7 s", _FULL, needs="root"),
    Kind("clock:step", 8, "the time of day of all our processes off by up to ±30 s for 2–6 s",
         "PostgreSQL told that time", needs="compiler"),
)  # fmt: skip
NAMED = {kind.name: kind for kind in KINDS}


class Due(msgspec.Struct, frozen=True):
    """A fault that is planned: `moment` in seconds from the start; `number` is its own, for its chance."""

    moment: float
    number: int
    kind: Kind

    @property
    def random(self) -> Random:
        return Random(self.number)  # noqa: S311 - chance to be repeated, not a secret


def plan(random: Random, faults: int, over_s: float, kinds: tuple[Kind, ...] = KINDS) -> list[Due]:
    """`faults` of them: each kind once where there is room, the rest by weight; moments at random."""
    chosen = random.sample(kinds, min(faults, len(kinds)))
    weights = [kind.weight for kind in kinds]
    chosen += random.choices(kinds, weights=weights, k=faults - len(chosen))
    moments = sorted(random.uniform(0.0, over_s) for _ in chosen)
    random.shuffle(chosen)
    return [
        Due(moment, random.randrange(1 << 31), kind)
        for moment, kind in zip(moments, chosen, strict=True)
    ]
