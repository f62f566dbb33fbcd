"""The benches by name, each on what it stands on. Each module is loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from ops.bench.measure import Effort, Measurement
from tenancy.errors import Invalid

Say = Callable[[str], None]
Bench = Callable[[Effort, Say], Awaitable[list[Measurement]]]


class UnknownBench(Invalid):
    """No bench has this name."""

    code = "unknown_bench"


async def accept(effort: Effort, say: Say) -> list[Measurement]:
    """The public listener beside a bare 202 on the same server, and beside single commits."""
    from ops.bench import accept_alone

    return await accept_alone.run(effort, say)


async def fanout(effort: Effort, say: Say) -> list[Measurement]:
    """A whole installation beside a plain loop of the same orders."""
    from ops.bench import fanout

    return await fanout.run(effort, say)


async def scale(effort: Effort, say: Say) -> list[Measurement]:
    """What an order costs among few accounts and among many, and a broker that takes 50 ms."""
    from ops.bench import scale

    return await scale.run(effort, say)


async def hsm(effort: Effort, say: Say) -> list[Measurement]:
    """The signer daemon beside hmac in this process, near its token and far from it."""
    from ops.bench import hsm

    return await hsm.run(effort, say)


async def audit(effort: Effort, say: Say) -> list[Measurement]:
    """The log's way in beside single commits."""
    from ops.bench import audit_alone

    return await audit_alone.run(effort, say)


async def pages(effort: Effort, say: Say) -> list[Measurement]:
    """The admin listener's pages of a long history beside a look-up by primary key."""
    from ops.bench import pages_alone

    return await pages_alone.run(effort, say)


async def sizing(effort: Effort, say: Say) -> list[Measurement]:
    """Lots of many accounts beside a plain loop of decimals."""
    from ops.bench import planning

    say("sizing: 1,000 and 10,000 accounts")
    return await planning.sizing(effort)


async def plan(effort: Effort, say: Say) -> list[Measurement]:
    """Whole plans of many accounts beside a plain loop of decimals."""
    from ops.bench import planning

    say("plan: 20, 1,000 and 10,000 accounts")
    return await planning.plans(effort)


BENCHES: Mapping[str, Bench] = {
    "accept": accept,
    "fanout": fanout,
    "scale": scale,
    "hsm": hsm,
    "audit": audit,
    "pages": pages,
    "sizing": sizing,
    "plan": plan,
}


def chosen(names: Sequence[str]) -> dict[str, Bench]:
    """The benches of these names, all where there is none, in the catalogue's order.

    Raises UnknownBench, which lists what there is.
    """
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        raise UnknownBench(
            f"there is no bench named {', '.join(map(repr, unknown))};"
            f" choose from {', '.join(BENCHES)}, or none for all of them"
        )
    return {name: bench for name, bench in BENCHES.items() if not names or name in names}
