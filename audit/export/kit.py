"""The reader that goes with every package: one runnable file, the same bytes for the same version.

`open.pyz` is a zip of exactly those modules that audit/export/reader.py needs, which are text that
anybody can read in it; running it needs Python 3.11 and `cryptography`, and nothing of ours. Dates
in it are fixed, so its SHA-256 tells whether it is what this version makes.
"""

from __future__ import annotations

import io
import zipfile
from functools import lru_cache
from importlib.resources import files

NAME = "open.pyz"
MODULES = (
    "audit/__init__.py", "audit/anchor.py", "audit/canonical.py", "audit/checkpoint.py",
    "audit/cosignature.py", "audit/malformed.py", "audit/merkle.py", "audit/note.py",
    "audit/policy.py", "audit/proof.py", "audit/record.py", "audit/sealing.py", "audit/tiles.py",
    "audit/verdict.py", "audit/verifier_evidence.py", "audit/export/__init__.py",
    "audit/export/check.py", "audit/export/check_anchor.py", "audit/export/columns.py",
    "audit/export/escrow.py", "audit/export/page.py", "audit/export/reader.py",
    "audit/export/row.py", "audit/export/writers.py",
)  # fmt: skip
_MAIN = "import sys\n\nfrom audit.export.reader import main\n\nsys.exit(main())\n"
_DATE = (2020, 1, 1, 0, 0, 0)


@lru_cache(maxsize=1)
def reader() -> bytes:
    """The file's bytes."""
    root = files("audit").joinpath("..")
    data = io.BytesIO()
    data.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(data, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in MODULES:
            _add(archive, name, root.joinpath(name).read_text(encoding="utf-8"))
        _add(archive, "__main__.py", _MAIN)
    return data.getvalue()


def _add(archive: zipfile.ZipFile, name: str, text: str) -> None:
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    archive.writestr(info, text)
