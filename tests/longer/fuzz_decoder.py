"""`python -m tests.longer.fuzz_decoder`: a million bodies, and nothing but InvalidSignal escapes the decoder.

What was accepted is within bounds, is what an independent JSON reader finds, and survives being said
again; every error is short and can be sent; no body costs more than its bound. `--seed` repeats a run.
"""

from __future__ import annotations

import sys
import time
from collections import Counter

import click

from fanout.signal import InvalidSignal
from tests.hostile_signals import bodies, check


@click.command()
@click.option("--inputs", default=1_000_000, help="How many bodies.")
@click.option("--seed", default=1, help="The same seed, the same run.")
def main(inputs: int, seed: int) -> None:
    """Attack the decoder for longer."""
    came: Counter[str] = Counter()
    began, slowest = time.monotonic(), 0.0
    for number, body in zip(range(inputs), bodies(seed), strict=False):
        one = time.perf_counter()
        try:
            outcome = check(body)
        except BaseException:
            click.echo(f"seed {seed}, body {number}: {body!r}", err=True)
            raise
        slowest = max(slowest, time.perf_counter() - one)
        came["refused" if isinstance(outcome, InvalidSignal) else "accepted"] += 1
        if number % 100_000 == 99_999:
            click.echo(f"{number + 1:,}: {time.monotonic() - began:.0f} s", err=True)
    click.echo(
        f"{inputs:,} bodies, seed {seed}: {came['accepted']:,} accepted, {came['refused']:,} refused, nothing else"
        f" in {time.monotonic() - began:.0f} s; the slowest {slowest * 1000:.1f} ms with all its checks"
    )
    if len(came) < 2:
        sys.exit("one of the two outcomes never came: this run shows nothing")


if __name__ == "__main__":
    main()
