"""What the signer refused, as evidence: which of it is kept, and in what words. Pure.

Kept is what somebody tried who should not have: a request that the policy does not allow, a row
that is not what was enrolled, a rate that is used up. A secret is in none of it: of a request its
method and path, never its query or body but the body's SHA-256; of a row its 16-byte name.

Nobody can drown it: each code has a rate of its own, and what is beyond is counted. Every entry
says how many of which code were not written since the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from uuid import UUID

import msgspec

from hsm import protocol
from hsm.envelope import name_of
from hsm.errors import MalformedRequest, SealBroken, SigningRate, SigningRefused
from hsm.rates import Rates
from tenancy.errors import UNREADABLE, PortcullisError

KEPT = frozenset({SigningRefused.code, SealBroken.code, SigningRate.code})
KEPT_BURST, KEPT_PER_S = 256, 2.0
"""Of each code. At about 400 bytes an entry that is at most 200 MB a day and code, under a flood."""
GAP = "gap"
TEXT_MOST = 300


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the journal. `seq` counts from 1 without a gap.

    `tenant` and `subject` are what the request said; `proven` is the tenant whose row it showed,
    where that row's MAC holds. `missed`: refusals by code that were counted and not written.
    """

    seq: int
    ts_ns: int
    code: str
    why: str
    request: str
    what: str = ""
    tenant: UUID | None = None
    subject: str | None = None
    row: str | None = None
    body_sha256: str | None = None
    proven: UUID | None = None
    missed: Mapping[str, int] = {}


def refused(
    request: protocol.Request | None,
    error: PortcullisError,
    proven: UUID | None,
    *,
    seq: int,
    ts_ns: int,
    missed: Mapping[str, int],
) -> Refusal:
    """The entry for one refusal."""
    about: dict[str, str | UUID | None] = {}
    if isinstance(request, protocol.SignRequest):
        about = {
            "what": f"{request.scheme} {request.method} {request.path}",
            "tenant": request.tenant_id,
            "subject": str(request.account_id),
            "row": request.name.hex(),
            "body_sha256": sha256(request.body).hexdigest(),
        }
    elif isinstance(request, protocol.OpenSecret):
        about = {
            "tenant": request.tenant_id, "subject": request.subject,
            "row": name_of(request.sealed).hex(),
        }  # fmt: skip
    elif isinstance(request, (protocol.SignNote, protocol.PublicKey)):
        about = {"what": request.label}
    return Refusal(
        seq=seq, ts_ns=ts_ns, code=error.code, why=clean(str(error)), proven=proven,
        missed=dict(missed),
        request="" if request is None else str(type(request).__struct_config__.tag),
        **{name: clean(text) if isinstance(text, str) else text for name, text in about.items()},  # type: ignore[arg-type]
    )  # fmt: skip


def gap(*, seq: int, ts_ns: int, missed: Mapping[str, int]) -> Refusal:
    """The entry that says only how many were not written."""
    return Refusal(
        seq=seq, ts_ns=ts_ns, code=GAP, why="more were refused than are written down",
        request="", missed=dict(missed),
    )  # fmt: skip


def clean(text: str) -> str:
    """As it can stand in a journal and an audit record: printable ASCII, and not long."""
    return text.encode("unicode_escape").decode("ascii")[:TEXT_MOST]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Refusal)


def line_of(refusal: Refusal) -> bytes:
    """Its JSON, without the newline."""
    return _encoder.encode(refusal)


def read_line(line: bytes) -> Refusal:
    """Raises MalformedRequest."""
    try:
        return _decoder.decode(line)
    except UNREADABLE as error:
        raise MalformedRequest(f"not a line of the journal: {error}") from None


class Budget:
    """Which refusals are written down, and how many were not."""

    def __init__(self) -> None:
        self._rates = Rates(KEPT_PER_S, KEPT_BURST)
        self._missed: dict[str, int] = {}

    def room(self, code: str, now: float) -> bool:
        """Whether this one is written; if not, it is counted. `now`: monotonic seconds."""
        if self._rates.take(code, now):
            return True
        self._missed[code] = self._missed.get(code, 0) + 1
        return False

    def missed(self) -> dict[str, int]:
        """What was counted and not written since the last call."""
        missed, self._missed = self._missed, {}
        return missed
