"""What goes with exported records so that a stranger can check them: keys, programs, and how.

The README is written for a reader who has never heard of us and trusts none of our programs: every
check is said for three tools that are independent of each other, with this package's own values.
"""

from __future__ import annotations

import base64
from importlib.resources import files as resources
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from audit.checkpoint import Checkpoint
from audit.export import kit
from audit.logs import Log

PROGRAMS = ("verify.go", "verify.sh")


def files(
    log: Log, head: Checkpoint, note: bytes, summary: dict[str, Any]
) -> list[tuple[str, bytes]]:
    """Name and bytes of each."""
    made = [("vkey", f"{log.vkey}\n".encode())]
    for number, key in enumerate(log.known, 1):
        made.append((f"log-{number}.pem", _pem(key.public_key)))
    for name in PROGRAMS:
        made.append((name, resources("audit.export").joinpath("files", name).read_bytes()))
    made.append((kit.NAME, kit.reader()))
    made.append(("README.md", _readme(log, head, note, summary).encode()))
    return made


def _pem(public_key: bytes) -> bytes:
    key = Ed25519PublicKey.from_public_bytes(public_key)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _signer(log: Log, note: bytes) -> tuple[int, int]:
    """Which of the log's keys signed (from 1), and on which line of the note its signature is."""
    for line, text in enumerate(note.decode().split("\n"), 1):
        if not text.startswith("— "):
            continue
        key_id = base64.b64decode(text.rsplit(" ", 1)[1])[:4]
        for number, key in enumerate(log.known, 1):
            if key.key_id == key_id:
                return number, line
    raise AssertionError("the checkpoint was opened with these keys")


def _readme(log: Log, head: Checkpoint, note: bytes, summary: dict[str, Any]) -> str:
    number, line = _signer(log, note)
    example = summary["first"] if summary["first"] >= 0 else 0
    return _README.format(
        chosen=summary["selection_in_words"], records=summary["records"], origin=log.origin,
        size=head.size, root=head.root.hex(), export=summary["export"], made=summary["made_at"],
        vkey=log.vkey, number=number, line=line, example=example,
        whole=_WHOLE if summary["range"] else _NOT_WHOLE,
        sealed=_SEALED if summary["sealed"] else "",
    )  # fmt: skip


_WHOLE = """The records are a range of the log without a gap, and the records on both sides of it are in
`range/`: that none was left out is checked, not promised."""
_NOT_WHOLE = """The records were chosen by more than their time. Each is proven to be in the log; that no further
record would fit the choice, only the whole log shows."""
_SEALED = """
## Reading what is encrypted

The content of the records is encrypted. With the private key that was appointed for it:

    python3 open.pyz . --vkey-file TRUSTED --key-file PRIVATE.pem --out opened

which checks everything as above, and then writes the records in clear into `opened`.
"""
_README = """# Records of an audit log, with their proofs

| | |
| --- | --- |
| chosen | {chosen} |
| records | {records} |
| log | {origin} |
| signed at | {size} records, root {root} |
| export | {export}, made {made} |

{whole}

Start with `index.html` (where it was asked for) to read, with `records.csv` or `records.parquet` to
calculate, and with `records.jsonl` to prove: each of its lines holds one record's leaf, byte for byte,
and its payload. `manifest.json` names every file with its SHA-256; the manifest's own SHA-256 stands in
the log, in the record that this export left.

## What is proven, and by what

The log is an append-only Merkle tree (RFC 6962). `checkpoint` is its signed head (C2SP
tlog-checkpoint), `tile/` are those of its tiles (C2SP tlog-tiles) that lead from these records to that
head. A payload is bound to its leaf: the leaf's `pc` is HMAC-SHA256(k_rec, payload), and `k_rec` is
in the payload, as hex.

**Get the log's public key from somewhere else than from this package**, and compare it:

    {vkey}

## Check it with this package's own program

Python 3.11 or newer and the package `cryptography`; no network, nothing else. It is a zip of readable
source:

    python3 open.pyz . --vkey-file TRUSTED

Exit status: 0 verified, 2 tampered, 3 inconsistent, 5 incomplete.

## Check it with Go, whose readers know nothing of us

    go mod init check && go get golang.org/x/mod
    go run verify.go . "$(cat TRUSTED)"

## Check it with openssl and a shell

The signature of the checkpoint, by hand (its first three lines are what is signed; the signature is on
line {line}, after four bytes of key id):

    head -n 3 checkpoint > text
    sed -n {line}p checkpoint | cut -d ' ' -f 3 | openssl base64 -d -A | tail -c +5 > signature
    openssl pkeyutl -verify -rawin -pubin -inkey log-{number}.pem -in text -sigfile signature

One record up to the signed root (where `proofs/` is here, which is for up to 1,000 records):

    sh verify.sh {example} log-{number}.pem
{sealed}"""
