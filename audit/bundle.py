"""One order's proof bundle, verified from its bytes and a public key: no log, no database, no network.

Imports what the verifier may import.
"""

from __future__ import annotations

import json
from typing import Any

from audit import merkle, record
from audit.malformed import Malformed
from audit.note import parse_keys
from audit.proof import parse_proof
from audit.verdict import INCOMPLETE, INCONSISTENT, TAMPERED, Verdict


def verify_bundle(bundle: dict[str, Any], vkey: str) -> Verdict:
    """The verdict on one order's proof bundle, as audit.proving makes it.

    Each record is under the checkpoint by its own proof, the records are the order's from its
    first on without a gap, and each payload that is given opens its record's commitment. That no
    later record exists is shown by the whole log alone (verify_log). `vkey`: as there.
    """
    verdict = Verdict()
    try:
        keys = parse_keys(vkey)
        oid = bundle["oid"]
        number, digest = 0, None
        for item in bundle["records"]:
            entry = item["leaf"].encode()
            proof = parse_proof(item["proof"])
            head = proof.check(entry, *keys)
            verdict.origin, verdict.size = head.origin, max(verdict.size, head.size)
            verdict.root = head.root.hex()
            leaf = record.read(entry)
            if (leaf.index, leaf.oid, leaf.on, leaf.op) != (proof.index, oid, number + 1, digest):
                what = f"record {proof.index} does not continue order {oid} after number {number}"
                verdict.find(INCONSISTENT, what, proof.index)
            number, digest = leaf.on or 0, merkle.leaf_hash(entry).hex()
            _check_payload(verdict, leaf, item.get("payload"))
            verdict.orders, verdict.orders_open = 1, int(leaf.kind != record.Kind.ORDER_CLOSE)
        if number == 0:
            verdict.find(INCOMPLETE, "the bundle holds no record")
    except Malformed as error:
        verdict.find(TAMPERED, str(error))
    except (KeyError, TypeError, AttributeError) as error:
        verdict.find(TAMPERED, f"not a proof bundle: {error!r}")
    return verdict


def _check_payload(verdict: Verdict, leaf: record.Leaf, payload: str | None) -> None:
    if payload is None:
        return
    try:
        secret = bytes.fromhex(json.loads(payload)["k_rec"])
    except (ValueError, KeyError, TypeError):
        secret = b""
    if not record.opens(leaf.commitment, secret, payload.encode()):
        what = f"the payload of record {leaf.index} is not what was committed to"
        verdict.find(TAMPERED, what, leaf.index)
