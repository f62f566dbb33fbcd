"""What goes with exported records so that a stranger can check them: keys, programs, and how.

The README is written for a reader who has never heard of us and trusts none of our programs: every
check is said for three tools that are independent of each other, with this package's own values.
"""

from __future__ import annotations

import base64
from importlib.resources import files as resources
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from audit.checkpoint import Checkpoint
from audit.export import kit
from audit.export.anchored import Anchoring
from audit.logs import Log
from audit.note import ECDSA_P256, ED25519

PROGRAMS = ("verify.go", "verify.sh")


def files(
    log: Log,
    head: Checkpoint,
    note: bytes,
    summary: dict[str, Any],
    anchoring: Anchoring | None = None,
) -> list[tuple[str, bytes]]:
    """Name and bytes of each."""
    made = [("vkey", f"{log.vkey}\n".encode())]
    for number, key in enumerate(log.known, 1):
        pem = key.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        made.append((f"log-{number}.pem", pem))
    for name in PROGRAMS:
        made.append((name, resources("audit.export").joinpath("files", name).read_bytes()))
    made.append((kit.NAME, kit.reader()))
    if anchoring is not None:
        made += anchoring.files()
    made.append(("README.md", _readme(log, head, note, summary, anchoring).encode()))
    return made


def _signers(log: Log, note: bytes) -> dict[int, tuple[int, int]]:
    """By kind of key: which of the log's keys signed (from 1), on which line of the note. Ed25519 always."""
    found: dict[int, tuple[int, int]] = {}
    for line, text in enumerate(note.decode().split("\n"), 1):
        if not text.startswith("— "):
            continue
        key_id = base64.b64decode(text.rsplit(" ", 1)[1])[:4]
        for number, key in enumerate(log.known, 1):
            if key.key_id == key_id:
                found.setdefault(key.kind, (number, line))
    return found


def _readme(
    log: Log, head: Checkpoint, note: bytes, summary: dict[str, Any], anchoring: Anchoring | None
) -> str:
    signers = _signers(log, note)
    number, line = signers[ED25519]
    example = summary["first"] if summary["first"] >= 0 else 0
    return _README.format(
        chosen=summary["selection_in_words"], records=summary["records"], origin=log.origin,
        size=head.size, root=head.root.hex(), export=summary["export"], made=summary["made_at"],
        vkey=_indented(log.vkey), number=number, line=line, example=example,
        whole=_WHOLE if summary["range"] else _NOT_WHOLE, anchored=_anchored(head, anchoring),
        sealed=_SEALED if summary["sealed"] else "", second=_second(signers),
    )  # fmt: skip


def _second(signers: dict[int, tuple[int, int]]) -> str:
    """The README's part on the other pair, for tools that know no Ed25519."""
    if ECDSA_P256 not in signers:
        return ""
    number, line = signers[ECDSA_P256]
    return _SECOND.format(number=number, line=line)


def _anchored(head: Checkpoint, anchoring: Anchoring | None) -> str:
    """The README's part on witnesses."""
    if anchoring is None:
        return _NOT_ANCHORED
    reach = _ALL_REACHED
    if anchoring.size < head.size:
        reach = _PARTLY_REACHED.format(reached=anchoring.size)
    return _ANCHORED.format(
        size=head.size, held=anchoring.size, reach=reach, vkey=_indented(anchoring.vkey),
        names=", ".join(anchoring.cosigned_by) or "nobody", policy=_POLICY if anchoring.policy else "",
    )  # fmt: skip


def _indented(lines: str) -> str:
    """As Markdown shows code; the first line's own indent stands in the text."""
    return lines.replace("\n", "\n    ")


_SECOND = """Where tools know no Ed25519, the second signature says the same (ECDSA over P-256, on line {line}):

    sed -n {line}p checkpoint | cut -d ' ' -f 3 | openssl base64 -d -A | tail -c +5 > signature
    openssl dgst -sha256 -verify log-{number}.pem -signature signature text

"""
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
_NOT_ANCHORED = """This log had not been anchored when the package was made: its operator's signature stands alone.
"""
_ALL_REACHED = """The anchored head is the signed one: their word reaches every record here."""
_PARTLY_REACHED = """**Their word reaches the log's first {reached} records. For record {reached} and those
after it the log's own signature alone speaks**, until a later anchor holds them."""
_POLICY = """
`policy` is the operator's own list of witnesses, without their addresses: it tells whom he has asked.
Bring your own: whoever believes the operator's list believes the operator."""
_ANCHORED = """The log's own signature says that its operator stands by this head, not that everybody was shown the
same one. Therefore the heads of all logs of an installation are put, blinded, into one tree every so
often. Its root is a record of the *anchor log*, whose checkpoint witnesses cosign: programs with keys
of their own, run by others, which sign only what extends all that they have seen before.

`anchor/proof` leads from this log's head **at size {held}** to such a checkpoint of the anchor log.
`anchor/consistency.json` (hashes in hex) proves that the head of size {size} only adds to that one.
{reach}

The anchor's checkpoint bears lines by: {names}. Whether they are genuine, and enough, is for you to
check. **Get the anchor log's public key and a policy (C2SP tlog-policy: whose cosignatures you believe
and how many it takes) from somewhere else than from this package**, best from the witnesses; this is
the key to compare:

    {vkey}

    python3 open.pyz . --vkey-file TRUSTED --anchor-vkey-file TRUSTED_ANCHOR --policy POLICY

Exit status 4: all is well, but too few of the policy's witnesses have said so.
{policy}

With tools of your own: `checkpoint` in `anchor/proof` is this log's head then, three lines. Its leaf is
SHA256(0x00 ‖ SHA256(salt ‖ checkpoint)), at place `slot` of a tree of `slots`; `hashes` lead up to the
root (RFC 6962). SHA256(0x02 ‖ slots as four bytes, big-endian ‖ root) is the member `pc` of `leaf`. `proof`
(C2SP tlog-proof) shows that leaf to be in the anchor log, and ends with its cosigned checkpoint (C2SP
tlog-cosignature). The consistency proof is checked as RFC 9162, 2.1.4.2 says.
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

Exit status: 0 verified, 2 tampered, 3 inconsistent, 4 unwitnessed, 5 incomplete.

## Check it with Go, whose readers know nothing of us

    go mod init check && go get golang.org/x/mod
    go run verify.go . "$(cat TRUSTED)"

## Check it with openssl and a shell

The signature of the checkpoint, by hand (its first three lines are what is signed; the signature is on
line {line}, after four bytes of key id):

    head -n 3 checkpoint > text
    sed -n {line}p checkpoint | cut -d ' ' -f 3 | openssl base64 -d -A | tail -c +5 > signature
    openssl pkeyutl -verify -rawin -pubin -inkey log-{number}.pem -in text -sigfile signature

{second}One record up to the signed root (where `proofs/` is here, which is for up to 1,000 records):

    sh verify.sh {example} log-{number}.pem

## Who says so besides the operator: witnesses

{anchored}{sealed}"""
