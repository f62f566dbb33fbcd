"""Is a bundle what its signer made? `python -m ops.bundle.verify BUNDLE --signers FILE`, standard library only.

1. SHA256SUMS is signed by one of the signers: keys that the operator has from elsewhere, never from the bundle.
2. Every file has the sum that SHA256SUMS names, none is missing, and none is there that it does not name.
3. The manifest names this release, and its wheel is there.
4. The locks and the index of Debian packages name exactly the wheels and packages that are there.
5. So does the SBOM.

Without 1 nothing else is asked: sums that nobody signed prove nothing. 3 to 5 find what a signer built wrongly.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ops.bundle.contents import Contents, read
from ops.bundle.names import (
    COLLECTIONS,
    COLLECTIONS_LOCK,
    DEBIAN,
    FILE_PROPERTY,
    INDEX,
    LOCK,
    MANIFEST,
    SBOM,
    SIGNATURE,
    SOURCE,
    SUMS,
    UNSUMMED,
    VULNERABILITIES,
    WHEELS,
)
from ops.bundle.signature import BadSignature, signer_of

SUM_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")
LOCK_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
TOLD = ("version", "wheel", "commit", "python", "suite", "architecture", "made_at")
"""What a manifest has to say."""


class Verdict(NamedTuple):
    """Without faults it is whole, and `signer`'s. `sums`: the SHA-256 of SHA256SUMS, which names all of it."""

    signer: str
    sums: str
    manifest: Mapping[str, Any]
    faults: list[str]


def verify(bundle: Path, signers: Path) -> Verdict:
    """All five steps, of a directory or an archive. What cannot be read at all is a fault, too."""
    try:
        contents = read(bundle)
    except (OSError, tarfile.TarError) as error:
        return Verdict("", "", {}, [f"{bundle}: cannot be read as a bundle: {error}"])
    try:
        signer = _signer(contents, signers)
    except BadSignature as error:
        return Verdict("", "", {}, [f"{SUMS}: {error}"])
    faults = judge(contents)
    sums = hashlib.sha256(contents.texts[SUMS]).hexdigest()
    return Verdict(signer, sums, {} if faults else _json(contents, MANIFEST), faults)


def _signer(contents: Contents, signers: Path) -> str:
    for name in UNSUMMED:
        if name not in contents.texts:
            raise BadSignature(f"{name} is missing: this is no bundle, or not a whole one")
    if not signers.is_file():
        raise BadSignature(f"there is no file {signers} that names who may sign")
    return signer_of(contents.texts[SUMS], contents.texts[SIGNATURE], signers)


def judge(contents: Contents) -> list[str]:
    """Steps 2 to 5: one sentence for each thing that is wrong, with its file and what would be right. Pure."""
    faults = [*contents.faults, *_missing(contents), *_sums(contents)]
    if faults:
        return faults
    try:
        return [*_manifest(contents), *_locks(contents), *_index(contents), *_sbom(contents)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{MANIFEST} or {SBOM}: cannot be read: {type(error).__name__} {error}"]


def sums_of(text: bytes) -> dict[str, str]:
    """What a SHA256SUMS names, as sha256sum writes it. Raises ValueError."""
    found = {}
    for line in text.decode().splitlines():
        match = SUM_LINE.fullmatch(line)
        if match is None or match[2] in found:
            raise ValueError(f"{line!r} is no new line of sha256sum's")
        found[match[2]] = match[1]
    return found


def _missing(contents: Contents) -> Iterator[str]:
    for name in (MANIFEST, LOCK, COLLECTIONS_LOCK, INDEX, SBOM, VULNERABILITIES, SOURCE):
        if name not in contents.sums:
            yield f"{name}: is missing, every bundle has it"


def _sums(contents: Contents) -> Iterator[str]:
    try:
        named = sums_of(contents.texts[SUMS])
    except ValueError as error:
        yield f"{SUMS}: {error}"
        return
    there = {name: found for name, found in contents.sums.items() if name not in UNSUMMED}
    for name in sorted(named.keys() | there.keys()):
        if name not in there:
            yield f"{name}: is missing, {SUMS} names it"
        elif name not in named:
            yield f"{name}: should not be there, {SUMS} does not name it"
        elif there[name] != named[name]:
            yield f"{name}: its SHA-256 is {there[name]}, should be {named[name]}"


def _manifest(contents: Contents) -> Iterator[str]:
    said = _json(contents, MANIFEST)
    for name in TOLD:
        if not isinstance(said.get(name), str) or not said[name]:
            yield f"{MANIFEST}: says no {name}, should say it in words"
    if said.get("wheel") not in contents.sums:
        yield f"{MANIFEST}: names the wheel {said.get('wheel')}, which is not there"


def _locks(contents: Contents) -> Iterator[str]:
    for lock, directory in ((LOCK, WHEELS), (COLLECTIONS_LOCK, COLLECTIONS)):
        locked = set(LOCK_HASH.findall(contents.texts[lock].decode()))
        wheels = _below(contents, directory, ".whl")
        for name in sorted(wheels):
            if wheels[name] not in locked:
                yield f"{name}: no line of {lock} has its SHA-256 {wheels[name]}"
        for digest in sorted(locked - set(wheels.values())):
            yield f"{lock}: wants a wheel with SHA-256 {digest}, and none in {directory}/ has it"


def _index(contents: Contents) -> Iterator[str]:
    """Raises KeyError where an entry has no file name or no sum."""
    entries = (
        dict(re.findall(r"(?m)^(Filename|SHA256): (?:\./)?(\S+)$", entry))
        for entry in contents.texts[INDEX].decode().split("\n\n")
        if entry.strip()
    )
    listed = {f"{DEBIAN}/{entry['Filename']}": entry["SHA256"] for entry in entries}
    yield from _same(_below(contents, DEBIAN, ".deb"), listed, INDEX)


def _sbom(contents: Contents) -> Iterator[str]:
    """Raises KeyError, TypeError where it is not as this program writes one."""
    said = _json(contents, SBOM)
    components = [said["metadata"]["component"], *said["components"]]
    listed = {
        prop["value"]: next(one["content"] for one in part["hashes"] if one["alg"] == "SHA-256")
        for part in components
        for prop in part.get("properties", ())
        if prop["name"] == FILE_PROPERTY
    }
    there = _below(contents, "", ".whl") | _below(contents, DEBIAN, ".deb")
    yield from _same(there, listed, SBOM)


def _same(there: Mapping[str, str], listed: Mapping[str, str], where: str) -> Iterator[str]:
    for name in sorted(there.keys() | listed.keys()):
        if name not in there:
            yield f"{where}: names {name}, which is not there"
        elif name not in listed:
            yield f"{name}: {where} does not name it"
        elif there[name] != listed[name]:
            yield f"{name}: its SHA-256 is {there[name]}, {where} says {listed[name]}"


def _below(contents: Contents, directory: str, ending: str) -> dict[str, str]:
    start = f"{directory}/" if directory else ""
    return {
        name: digest
        for name, digest in contents.sums.items()
        if name.startswith(start) and name.endswith(ending)
    }


def _json(contents: Contents, name: str) -> dict[str, Any]:
    """Raises KeyError, ValueError, TypeError."""
    said = json.loads(contents.texts[name])
    if not isinstance(said, dict):
        raise TypeError(f"{name} is no object")
    return said


def main(arguments: list[str] | None = None) -> int:
    """The program's exit status: 0 where the bundle is whole, and its facts as JSON; else 1, and its faults."""
    parser = argparse.ArgumentParser(prog="python -m ops.bundle.verify", description=__doc__)
    parser.add_argument("bundle", type=Path, help="a bundle's archive, or its directory")
    parser.add_argument("--signers", type=Path, required=True, help="an allowed_signers file")
    given = parser.parse_args(arguments)
    verdict = verify(given.bundle, given.signers)
    if verdict.faults:
        print("\n".join(verdict.faults), file=sys.stderr)  # noqa: T201 - a command's output
        return 1
    print(json.dumps(verdict._asdict()))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
