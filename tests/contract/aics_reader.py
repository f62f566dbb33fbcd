"""Reads C2SP logs with `aics-tlog`, which knows nothing of us: for each "directory TAB vkey" line, an answer.

Run by a Python of 3.12 or newer that has the package; imports nothing of ours. `ok <size>` only where the
checkpoint opens and every tile and every entry is proven by its root.
"""

from __future__ import annotations

import sys

from aics_tlog import verify_checkpoint
from aics_tlog.note import parse_note, parse_vkey
from aics_tlog.tiles import FileSystemTileReader
from aics_tlog.verified import audit_tiles


def check(directory: str, vkey: str) -> int:
    """The log's size. Raises whatever the package raises where it refuses."""
    with open(f"{directory}/checkpoint", "rb") as file:
        note = parse_note(file.read())
    key = parse_vkey(vkey)
    head = verify_checkpoint(note, key, [], quorum=0, expected_origin=key.name)
    if not head.ok or head.size is None or head.root is None:
        raise ValueError(head.error)
    audit_tiles(FileSystemTileReader(directory), head.size, head.root)
    return head.size


def main() -> None:
    """Until the input ends."""
    for line in sys.stdin:
        try:
            said = f"ok {check(*line.rstrip(chr(10)).split(chr(9)))}"
        except Exception as error:
            said = f"refused: {error}".replace("\n", " ")
        print(said, flush=True)


if __name__ == "__main__":
    main()
