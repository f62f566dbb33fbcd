"""What another process has in its memory: every readable page of it, searched from outside.

Needs root, or CAP_SYS_PTRACE. A process that ends meanwhile ends the search of it; what it writes
while it is read may be missed once, so searches are repeated.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

CHUNK = 8 * 2**20
UNREADABLE = ("[vvar]", "[vvar_vclock]", "[vsyscall]")


def spellings(plain: bytes) -> dict[str, bytes]:
    """The bytes, and what programs make of them: encodings, and HMAC's own two paddings."""
    return {
        "plain": plain,
        "hex": plain.hex().encode(),
        "base64": base64.b64encode(plain[: len(plain) // 3 * 3]),
        "ipad": bytes(byte ^ 0x36 for byte in plain),
        "opad": bytes(byte ^ 0x5C for byte in plain),
    }


class Search:
    """One look at many processes: memory that they share is read once, for the first of them."""

    def __init__(self, needles: Mapping[str, bytes]) -> None:
        self._needles = needles
        self._longest = max(map(len, needles.values()))
        self._seen: set[tuple[str, ...]] = set()

    def __call__(self, pid: int) -> Counter[tuple[str, str]]:
        """How often each needle is there, by its name and the mapping's. Raises OSError."""
        found: Counter[tuple[str, str]] = Counter()
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            for start, end, name in self._mappings(pid):
                kept = b""
                for at in range(start, end, CHUNK):
                    try:
                        memory.seek(at)
                        data = kept + memory.read(min(CHUNK, end - at))
                    except (OSError, ValueError, OverflowError):
                        break  # unmapped meanwhile, or a device's
                    for needle, wanted in self._needles.items():
                        found[needle, name] += data.count(wanted)
                    kept = data[-(self._longest - 1) :]
        return +found

    def _mappings(self, pid: int) -> Iterator[tuple[int, int, str]]:
        """Without what is a file's and cannot be written: it is what is in the file."""
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, offset, device, inode, *name = line.split(maxsplit=5)
            label = name[0] if name else "anonymous"
            of_file = inode != "0"
            if rights[0] != "r" or label in UNREADABLE or (of_file and rights[1] != "w"):
                continue
            if rights[3] == "s":
                shared = (device, inode, offset)
                if shared in self._seen:
                    continue
                self._seen.add(shared)
            start, end = (int(part, 16) for part in span.split("-"))
            yield start, end, label
