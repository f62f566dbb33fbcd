"""What a witness answers to `add-checkpoint`, decided purely (C2SP tlog-witness, "add-checkpoint").

The checks, in this order, with the answer that each refusal has:

1. The body is what it must be.                                                  400
2. The origin is one that this witness knows.                                    404
3. A trusted key of that origin signed, and none of them wrongly.                403
4. The old size is not above the checkpoint's.                                   400
5. The old size is that of the latest checkpoint cosigned.                       409, with that size
6. The empty tree has the empty root; the same size has the same root; nothing
   is proven from size zero; else the proof leads from the old tree to the new.  422

A cosignature is the answer to all else. 409 is how a log learns where the witness stands, so it comes
after the signature was found good, and nobody but the log can ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from audit import merkle
from audit.malformed import Malformed
from audit.note import VerifierKey
from audit.witness import request
from audit.witness.request import Head, Request

TEXT = "text/plain; charset=utf-8"
SIZE = "text/x.tlog.size"


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes
    content_type: str = TEXT
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """The latest checkpoint of a log that was cosigned."""

    size: int
    root: bytes


class Refused(Exception):
    """A step of the above said no; `answer` says which."""

    def __init__(self, status: int, why: str, content_type: str = TEXT) -> None:
        super().__init__(why)
        self.answer = Answer(status, f"{why}\n".encode(), content_type)


def read(body: bytes) -> Request:
    """Step 1. Raises Refused."""
    try:
        return request.parse(body)
    except Malformed as error:
        raise Refused(400, str(error)) from None


def check_signature(head: Head, keys: Sequence[VerifierKey]) -> list[str]:
    """Steps 2 and 3: the lines of the log's own keys, each verified. Raises Refused.

    `keys`: those trusted for the origin; none where it is unknown. A key's second line is no harm as
    long as it is good too.
    """
    if not keys:
        raise Refused(404, "this origin is not known here")
    trusted = {(key.name, key.key_id): key for key in keys}
    lines = []
    for name, key_id, signature in head.lines:
        key = trusted.get((name, key_id))
        if key is None:
            continue
        if not key.verifies(head.text.encode(), signature):
            raise Refused(403, "a signature by a trusted key does not verify")
        lines.append(key.line(signature))
    if not lines:
        raise Refused(403, "no signature by a key that is trusted for this origin")
    return lines


def check_growth(asked: Request, seen: Seen | None) -> None:
    """Steps 4 to 6. Raises Refused. `seen`: None where nothing was ever cosigned."""
    head = asked.head
    if asked.old > head.size:
        raise Refused(400, f"the old size {asked.old} is above the checkpoint's, {head.size}")
    latest = Seen(0, merkle.EMPTY_ROOT) if seen is None else seen
    if asked.old != latest.size:
        raise Refused(409, str(latest.size), SIZE)
    # That function knows the empty tree's root, that nothing is proven from size zero, and equal sizes.
    if not merkle.verify_consistency(asked.old, head.size, latest.root, head.root, asked.proof):
        raise Refused(422, f"the tree does not extend the one of size {latest.size} seen here")
