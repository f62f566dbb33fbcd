"""`python -m tests.longer.logs`: a thousand random logs before Go's sumdb and aics-tlog, and their bits.

Each log is accepted by all three; each single bit that is changed is refused by all three: every bit of logs
of one, two and three records, and some of every other. Some minutes; before a release. `--seed` repeats a run.
`--aics` names a Python of 3.12 or newer that has `aics-tlog`; this one, where it is.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import click

from tests.contract.random_logs import agree_on, random_log
from tests.contract.readers import aics, aics_python, build_go, go
from tests.fakes.audit_log import leaves, write_log


@click.command()
@click.option("--logs", default=1000, help="How many.")
@click.option("--flips", default=20, help="Changed bits of each.")
@click.option("--seed", default=1, help="The first log's seed; the next has the next.")
@click.option("--every-bit/--some-bits", default=True, help="Begin with every bit of small logs.")
@click.option("--aics", "python", default=aics_python, help="A Python that has aics-tlog.")
def main(logs: int, flips: int, seed: int, every_bit: bool, python: str | None) -> None:
    """Ask three readers about many logs."""
    if python is None:
        raise click.UsageError("aics-tlog needs Python 3.12: name one that has it with --aics")
    began, records, tried = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory(prefix="pc-logs-") as name, ExitStack() as stack:
        here = Path(name)
        readers = [stack.enter_context(one) for one in (go(build_go(here)), aics(python))]
        for size in (1, 2, 3) if every_bit else ():
            directory = here / f"small-{size}"
            write_log(directory, leaves(size))
            tried += agree_on(directory, readers, size, 0, 0)
            click.echo(f"every bit of a log of {size}: {tried} changes so far, refused by all")
        for number in range(seed, seed + logs):
            directory = here / str(number)
            size = random_log(directory, number)
            tried += agree_on(directory, readers, size, flips, number)
            records += size
            for path in sorted(directory.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
    click.echo(
        f"{logs} logs of {records} records, {tried} changed bits: ours, Go's sumdb and aics-tlog agree"
        f" ({time.monotonic() - began:.0f} s)"
    )


if __name__ == "__main__":
    main()
