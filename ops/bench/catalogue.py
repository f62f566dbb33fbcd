"""The benches by name: one module each, loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from ops.bench.measure import Effort, Measurement
from tenancy.errors import Invalid

Bench = Callable[[Effort, Callable[[str], None]], Awaitable[list[Measurement]]]


class UnknownBench(Invalid):
    """No bench has this name."""

    code = "unknown_bench"


def _fanout() -> Bench:
    from ops.bench import fanout

    return fanout.run


BENCHES: Mapping[str, Callable[[], Bench]] = {"fanout": _fanout}


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
    return {name: load() for name, load in BENCHES.items() if not names or name in names}
