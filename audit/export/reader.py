"""`open.pyz`: verify a package, and with an escrow key open what is encrypted in it. No service of ours runs.

1. Verify the package (audit/export/check.py), with the anchor log's keys and a policy where the reader
   brings them: nothing is opened of what does not verify as far as was asked.
2. Open the tenant's audit key with the private key, from `escrow/`.
3. Open the data keys that came along, in `keys.jsonl`; a subject without one was erased.
4. Open each payload, compare it with its leaf's commitment, and write it: JSON lines, CSV, pages.

Standard library and `cryptography` only. Exit status as `audit verify`; 1: it could not be begun, or not
be opened.
"""

from __future__ import annotations

import argparse
import base64
import getpass
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from audit import sealing
from audit.arguments import ASKED_WRONGLY, VerdictParser
from audit.export import escrow
from audit.export.check import MANIFEST, describe, lines, opens, verify_package
from audit.export.columns import values
from audit.export.page import Pages
from audit.export.row import Row
from audit.export.writers import Csv, JsonLines, Writer
from audit.malformed import Malformed
from audit.merkle import leaf_hash
from audit.note import parse_keys
from audit.policy import parse_policy
from audit.verifier_evidence import Evidence

KEYS, ESCROWS = "keys.jsonl", "escrow"
BATCH = 1000


def read_private_key(pem: bytes, ask: Callable[[], str]) -> escrow.PrivateKey:
    """The examiner's key; `ask` gives its passphrase where it has one. Raises Malformed."""
    try:
        try:
            key = load_pem_private_key(pem, None)
        except TypeError:  # it is encrypted
            key = load_pem_private_key(pem, ask().encode())
    except ValueError:
        raise Malformed(
            "the private key cannot be read: PEM and its passphrase are needed"
        ) from None
    if isinstance(key, RSAPrivateKey | X25519PrivateKey):
        return key
    raise Malformed("an RSA or X25519 private key is needed")


class Keys:
    """The data keys of one package, opened when first asked for."""

    def __init__(self, directory: Path, key: escrow.PrivateKey) -> None:
        """Raises Malformed where no escrow of the package is for this key."""
        wanted = escrow.fingerprint(key.public_key())
        found = [
            said
            for path in sorted((directory / ESCROWS).glob("*.json"))
            if (said := json.loads(path.read_bytes())).get("public_key_sha256") == wanted
        ]
        if not found:
            raise Malformed("no escrow in this package was made for this key")
        self.tenant, audit_key = escrow.decrypt(found[0], key)
        self._audit_key = AESGCM(audit_key)
        self._wrapped: dict[tuple[str, int], bytes] = {}
        for line in (directory / KEYS).read_text(encoding="utf-8").splitlines():
            said = json.loads(line)
            name = (said["subject"], said["version"])
            self._wrapped[name] = base64.b64decode(said["wrapped"])
        self._open: dict[tuple[str, int], AESGCM] = {}

    def payload(self, stored: bytes, pc: bytes) -> bytes | None:
        """The payload's JSON; None where its key was destroyed. Raises Malformed."""
        if not sealing.is_sealed(stored):
            return stored
        sealed = sealing.parse(stored)
        name = (sealed.subject, sealed.version)
        key = self._open.get(name)
        if key is None:
            wrapped = self._wrapped.get(name)
            if wrapped is None:
                return None
            key = AESGCM(sealing.unwrap(self._audit_key, self.tenant, *name, wrapped))
            self._open[name] = key
        return sealing.open_sealed(key, self.tenant, sealed, pc)


def open_package(directory: Path, keys: Keys, out: Path) -> dict[str, int]:
    """Steps 3 and 4: the records in clear, in `out`, which must not exist; how many of each state.

    Raises Malformed, naming a record whose payload does not open or is not what was committed to.
    """
    manifest = json.loads((directory / MANIFEST).read_bytes())
    if keys.tenant != UUID(manifest["tenant"]):
        raise Malformed("the escrow is another tenant's")
    out.mkdir(parents=True, mode=0o700)
    facts = [
        ("Chosen", str(manifest["selection_in_words"])), ("Log", str(manifest["origin"])),
        ("Opened from export", str(manifest["export"])),
    ]  # fmt: skip
    pages = Pages(out, "Records of the audit log, opened", facts)
    writers: list[Writer] = [JsonLines(out), Csv(out), pages]
    done = False
    try:
        states = _open_all(directory, keys, writers)
        done = True
    finally:
        for writer in writers:
            writer.close()
        if not done:  # nothing half-opened is left to be taken for the whole
            shutil.rmtree(out)
    return states


def _open_all(directory: Path, keys: Keys, writers: Sequence[Writer]) -> dict[str, int]:
    states: dict[str, int] = {}
    waiting: list[Row] = []
    for item in lines(directory):
        row = _row(item, keys)
        states[row.state] = states.get(row.state, 0) + 1
        waiting.append(row)
        if len(waiting) == BATCH:
            _write(writers, waiting)
            waiting = []
    if waiting:
        _write(writers, waiting)
    return states


def _write(writers: Sequence[Writer], rows: list[Row]) -> None:
    cells = [values(row) for row in rows]
    for writer in writers:
        writer.write(rows, cells)


def _row(item: dict[str, Any], keys: Keys) -> Row:
    leaf = item["leaf"].encode()
    members = json.loads(leaf)
    index, digest = item["i"], leaf_hash(leaf)
    payload: bytes | None = None
    if "sealed" in item:
        stored = base64.b64decode(item["sealed"])
        try:
            payload = keys.payload(stored, bytes.fromhex(members["pc"]))
        except Malformed as error:
            raise Malformed(f"record {index}: {error}") from None
        if payload is None:
            return Row(index, leaf, digest, members, "erased")
    elif "payload" in item:
        payload = item["payload"].encode()
    else:
        return Row(index, leaf, digest, members, "erased" if item.get("erased") else "absent")
    if not opens(members["pc"], payload.decode()):
        raise Malformed(f"the payload of record {index} is not what was committed to")
    said = json.loads(payload)
    del said["k_rec"]
    return Row(index, leaf, digest, members, "open", payload, said)


def _parser() -> argparse.ArgumentParser:
    parser = VerdictParser(
        prog="open.pyz",
        description="Verify a package of audit records from its files and the log's public key; with"
        " the private key of an appointed examiner, open what is encrypted in it.",
        epilog="Exit status: 0 verified, 2 tampered, 3 inconsistent, 4 unwitnessed (only where"
        " --anchor-vkey-file is given), 5 incomplete; 1: could not begin, or not opened.",
    )
    parser.add_argument("directory", type=Path, help="the package")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--vkey", help="the log's verifier key, obtained from a source you trust")
    given.add_argument("--vkey-file", type=Path, help="a file that holds it")
    parser.add_argument(
        "--anchor-vkey-file", type=Path,
        help="the anchor log's verifier key, from a source you trust: opens the package's anchor",
    )  # fmt: skip
    parser.add_argument(
        "--policy", type=Path,
        help="a C2SP tlog-policy, from a source you trust: whose cosignatures the anchor must bear",
    )  # fmt: skip
    parser.add_argument("--key-file", type=Path, help="PEM of the examiner's private key")
    parser.add_argument("--out", type=Path, help="where to write the opened records")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _brought(said: argparse.Namespace) -> tuple[str, Evidence]:
    """The log's key, and what else the reader brings. Raises ValueError, OSError."""
    if (said.key_file is None) != (said.out is None):
        raise ValueError("--key-file and --out go together")
    if said.policy is not None and said.anchor_vkey_file is None:
        raise ValueError("--policy needs --anchor-vkey-file: witnesses cosign the anchor log")
    keys = said.anchor_vkey_file
    evidence = Evidence(
        policy=None if said.policy is None else parse_policy(said.policy.read_bytes()),
        anchor_keys=() if keys is None else parse_keys(keys.read_text()),
    )
    return said.vkey or said.vkey_file.read_text(), evidence


def main(arguments: Sequence[str] | None = None) -> int:
    """The program. Prints the verdict, returns the exit status."""
    said = _parser().parse_args(arguments)
    try:
        vkey, evidence = _brought(said)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"cannot verify: {error}\n")
        return ASKED_WRONGLY
    verdict = verify_package(said.directory, vkey, evidence)
    if said.json:
        more = {
            "counts": asdict(verdict.counts), "complete": verdict.complete,
            "anchored": verdict.anchored,
        }  # fmt: skip
        _say(json.dumps(verdict.verdict.as_json() | more))
    else:
        _say(describe(verdict))
    if verdict.verdict.code or said.key_file is None:
        return verdict.verdict.code
    try:
        private = read_private_key(
            said.key_file.read_bytes(), lambda: getpass.getpass("Passphrase: ")
        )
        states = open_package(said.directory, Keys(said.directory, private), said.out)
    except (Malformed, OSError) as error:
        _say(f"not opened: {error}")
        return 1
    _say(f"opened into {said.out}: " + ", ".join(f"{n} {name}" for name, n in states.items()))
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
