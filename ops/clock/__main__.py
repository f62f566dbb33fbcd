"""The clock agent as a process: `python -m ops.clock --settings FILE --index 0`."""

from __future__ import annotations

import sys

from ops import own_program
from ops.clock.agent import Agent, clock_file, seen
from ops.settings import Settings
from tenancy.clock_file import ClockFile
from tenancy.errors import ConfigurationError


async def work(settings: Settings, index: int) -> None:
    """Measure and say so until SIGTERM. Raises ConfigurationError where no clock is set up."""
    if settings.clock is None:
        raise ConfigurationError("[clock] is missing: there is nothing to measure for")
    path = clock_file(settings.instance.runtime)
    sense = ClockFile(path)
    agent = Agent(settings.clock, path)
    checks = {"clock": lambda: seen(sense)}
    await own_program.until_told(settings, "clock", index, checks, agent.run)


def main(arguments: list[str] | None = None) -> int:
    return own_program.main("clock", "ops.clock", __doc__ or "", work, arguments)


if __name__ == "__main__":
    sys.exit(main())
