"""The WAL archive as a process: `python -m ops.backup --settings FILE --index 0`."""

from __future__ import annotations

import os
import sys

from ops import own_program
from ops.backup.archive import Archive
from ops.backup.prepare import wanted
from ops.settings import Settings


async def work(settings: Settings, index: int) -> None:
    """Receive and watch until SIGTERM. Raises ConfigurationError where nothing was prepared."""
    archive = Archive(wanted(settings), settings.instance.var / "log" / "pg_receivewal.log")
    checks = {"archive": archive.check}
    await own_program.until_told(settings, "archive", index, checks, archive.run)


def main(arguments: list[str] | None = None) -> int:
    os.umask(0o077)  # whatever is archived is ours alone
    return own_program.main("archive", "ops.backup", __doc__ or "", work, arguments)


if __name__ == "__main__":
    sys.exit(main())
