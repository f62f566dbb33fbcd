"""A store's manifest against the store's files: its chain, and each file that it names.

Step 9 of audit/verifier.py. Standard library only, but for what audit/note.py needs.
"""

from __future__ import annotations

from audit.checkpoint import Checkpoint
from audit.malformed import Malformed
from audit.manifest import digest, read_chain
from audit.tiles import WIDTH, parse_path
from audit.verdict import INCOMPLETE, INCONSISTENT, TAMPERED, Verdict
from audit.verifier_files import Source


def check_manifest(verdict: Verdict, source: Source, head: Checkpoint) -> None:
    """The manifest's chain holds, and each file that it names is there as it says."""
    try:
        manifest = read_chain(source.read)
    except (Malformed, OSError) as error:
        verdict.find(TAMPERED, str(error))
        return
    if manifest is None:
        verdict.find(INCOMPLETE, "there is no manifest")
        return
    if manifest.origin != head.origin:
        verdict.find(INCONSISTENT, f"the manifest is of the log {manifest.origin}")
    for name, file in manifest.files.items():
        tile = parse_path(name)
        first = tile.n * WIDTH ** (max(tile.level, 0) + 1)
        try:
            data = source.read(name)
        except OSError:
            data = None
        if data is None:
            verdict.find(INCOMPLETE, f"{name} is in the manifest and missing", first)
        elif (len(data), digest(data)) != (file.size, file.sha256):
            verdict.find(TAMPERED, f"{name} is not what the manifest says", first)
