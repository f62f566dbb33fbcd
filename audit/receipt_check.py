"""An erasure's receipt, verified from its bytes and a public key: no log, no database, no network.

1. The record's leaf is under the signed checkpoint, by its proof.
2. The leaf is a `shred` record, and its payload opens its commitment.
3. The payload says of the erasure what the receipt says: which subject, how many records, by whom.

Imports what the verifier may import.
"""

from __future__ import annotations

import json
from typing import Any

from audit import record
from audit.malformed import Malformed
from audit.note import parse_keys
from audit.proof import parse_proof
from audit.verdict import TAMPERED, Verdict

FORMAT = "portcullis-erasure-receipt@v1"

_SAID = {
    "erasure": "erasure_id", "subject": "subject", "through_version": "through_version",
    "records": "records", "why": "why", "proposal": "proposal_id", "proposed_by": "asked_by",
    "approved_by": "approved_by",
}  # fmt: skip
"""Member of the payload → member of the receipt's `erasure`."""


def verify_receipt(receipt: dict[str, Any], vkey: str) -> Verdict:
    """The verdict. `vkey`: the log's, from a source you trust; several on lines of their own."""
    verdict = Verdict()
    try:
        item, erasure = receipt["record"], receipt["erasure"]
        leaf_bytes, payload = item["leaf"].encode(), item["payload"].encode()
        proof = parse_proof(item["proof"])
        head = proof.check(leaf_bytes, *parse_keys(vkey))  # step 1
        verdict.origin, verdict.size, verdict.root = head.origin, head.size, head.root.hex()
        leaf, said = record.read(leaf_bytes), json.loads(payload)
        opens = record.opens(leaf.commitment, bytes.fromhex(said["k_rec"]), payload)
        if leaf.kind != record.Kind.SHRED or leaf.index != proof.index or not opens:  # step 2
            what = f"record {proof.index} is no `shred` record that this payload opens"
            verdict.find(TAMPERED, what, proof.index)
        for of_payload, of_receipt in _SAID.items():  # step 3
            if said[of_payload] != erasure[of_receipt]:
                what = f"the log's record says another {of_receipt} than the receipt"
                verdict.find(TAMPERED, what, proof.index)
    except Malformed as error:
        verdict.find(TAMPERED, str(error))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        verdict.find(TAMPERED, f"not a receipt: {error!r}")
    return verdict
