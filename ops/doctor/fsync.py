"""How long a flush takes here: `python -m ops.doctor.fsync DIRECTORY` prints seconds, a line for each.

What PostgreSQL does at a commit: overwrite a block of a file that is there, and fdatasync. The file
has lost its name before the first write, so that nothing is left whatever becomes of this process.
Standard library only: it has to start quickly, on a machine that is not well.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time

FLUSHES = 64
WITHIN_S = 2.0
BLOCK = bytes(8192)


def flushes(directory: str) -> list[float]:
    """Seconds of each flush; as many as fit into WITHIN_S. Raises OSError."""
    handle, path = tempfile.mkstemp(prefix=".doctor-", dir=directory)
    try:
        os.unlink(path)
        os.pwrite(handle, BLOCK * 8, 0)
        os.fsync(handle)
        took: list[float] = []
        end = time.monotonic() + WITHIN_S
        while len(took) < FLUSHES and time.monotonic() < end:
            began = time.perf_counter()
            os.pwrite(handle, BLOCK, len(BLOCK) * (len(took) % 8))
            os.fdatasync(handle)
            took.append(time.perf_counter() - began)
        return took
    finally:
        os.close(handle)


if __name__ == "__main__":
    sys.stdout.write("".join(f"{one:.7f}\n" for one in flushes(sys.argv[1])))
