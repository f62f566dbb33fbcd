"""A process that launches one session and waits for its end: `--door … --row FILE … -- COMMAND`.

It is a process of its own so that a test can look into its memory for what only the session may have.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from uuid import UUID

from hsm.errors import SignerUnavailable
from hsm.handover import launch


async def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--door", type=Path, required=True)
    parser.add_argument("--row", type=Path, required=True)
    parser.add_argument("--tenant", type=UUID, required=True)
    parser.add_argument("--subject", required=True)
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    try:
        session = await launch(
            given.command, door=given.door, sealed=given.row.read_bytes(),
            tenant_id=given.tenant, subject=given.subject,
        )  # fmt: skip
    except SignerUnavailable as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return 3
    return await session.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
