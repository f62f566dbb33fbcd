"""chrony's monitoring protocol, version 6: one question and its answer, as bytes. Pure.

A request for the tracking report and the reply to it, as chrony 2.0 and later speak them on UDP
port 323 of the loopback (the layout is that of chrony's candm.h; all in network order):

    request  version 6, type 1, 2 reserved, command 33, attempt, sequence, 8 zero bytes, and zeros
             up to the length of the reply, so that nobody is made to answer more than was asked
    reply    version 6, type 2, 2 reserved, command 33, reply 5, status 0, 6 zero bytes, sequence,
             8 zero bytes; reference id, its address (20 bytes), stratum, leap, three words of
             reference time, nine floats

A float is 32 bits: a signed exponent of 7, a signed coefficient of 25, worth coefficient * 2^(exponent - 25).
"""

from __future__ import annotations

import math
import struct

from tenancy.clock_quality import LARGEST_NS, SECOND, Tracking

PORT = 323
VERSION = 6
REQUEST, REPLY = 1, 2
TRACKING = 33
TRACKING_REPLY = 5
BAD_VERSION = 18
NO_HIGH_SECONDS = 0x7FFFFFFF
"""In place of the upper half of the seconds where chronyd's time has 32 bits."""
LAST_NS = 2**63 - 1

_REQUEST = struct.Struct("!BBxxHHIxxxxxxxx")
_HEAD = struct.Struct("!BBBBHHHxxxxxxIxxxxxxxx")
_BODY = struct.Struct("!I20xHHIIIiiiiiiiii")
REPLY_BYTES = _HEAD.size + _BODY.size

LEAPS = {0: "normal", 1: "insert second", 2: "delete second", 3: "not synchronised"}
UNSYNCHRONISED_LEAP = 3
NOBODY = "00000000"
OWN_CLOCK = "7F7F0101"
"""127.127.1.1: chronyd's `local` reference, its own clock calling itself right."""


class NotTracking(ValueError):
    """The bytes are no tracking report; says what they are."""


def request(sequence: int) -> bytes:
    """The question, as long as its answer."""
    return _REQUEST.pack(VERSION, REQUEST, TRACKING, 0, sequence).ljust(REPLY_BYTES, b"\0")


def read_reply(data: bytes, sequence: int) -> Tracking:
    """What the daemon answered to request(sequence). Raises NotTracking."""
    if len(data) < _HEAD.size:
        raise NotTracking(f"an answer of {len(data)} bytes")
    version, kind, res1, res2, command, reply, status, echoed = _HEAD.unpack_from(data)
    if kind != REPLY or res1 or res2 or command != TRACKING or echoed != sequence:
        raise NotTracking("an answer to something else")
    if version != VERSION or status == BAD_VERSION:
        raise NotTracking(f"chronyd speaks version {version} of its protocol, {VERSION} is known")
    if status != 0:
        raise NotTracking(f"chronyd refused the question (status {status})")
    if reply != TRACKING_REPLY or len(data) < REPLY_BYTES:
        raise NotTracking(f"an answer of kind {reply} with {len(data)} bytes")
    return _tracking(_BODY.unpack_from(data, _HEAD.size))


def _tracking(fields: tuple[int, ...]) -> Tracking:
    ref_id, stratum, leap, high, low, nanoseconds = fields[:6]
    correction, _last, _rms, frequency, _residual, skew, delay, dispersion, _interval = map(
        float_of, fields[6:]
    )
    seconds = low if high == NO_HIGH_SECONDS else (high << 32) + low
    return Tracking(
        ref_id=f"{ref_id:08X}",
        stratum=stratum,
        ref_time_ns=min(seconds * SECOND + nanoseconds, LAST_NS),
        offset_ns=-_away_from_zero(correction * 1e9),  # the correction is what must be added
        root_delay_ns=_away_from_zero(delay * 1e9),
        root_dispersion_ns=_away_from_zero(dispersion * 1e9),
        frequency_ppb=_away_from_zero(frequency * 1e3),
        skew_ppb=_away_from_zero(skew * 1e3),
        leap=LEAPS.get(leap, f"leap {leap}"),
    )


def float_of(word: int) -> float:
    """The number in a signed word of 32 bits."""
    exponent = word >> 25  # arithmetic, hence signed
    coefficient = word & 0x01FFFFFF
    if coefficient >= 1 << 24:
        coefficient -= 1 << 25
    return math.ldexp(coefficient, exponent - 25)


def _away_from_zero(value: float) -> int:
    """Rounded so that no error gets smaller; what is more than anybody believes stays just that."""
    most = LARGEST_NS + 1
    return max(-most, min(most, math.ceil(value) if value > 0 else math.floor(value)))


def unsynchronised(tracking: Tracking) -> str:
    """Why the daemon knows no UTC; empty: it does. Pure."""
    if tracking.leap not in ("normal", "insert second", "delete second"):
        return f"chronyd is {tracking.leap}"
    if tracking.ref_id == OWN_CLOCK:
        return "chronyd has no source but this host's own clock (`local`)"
    if tracking.ref_id == NOBODY or tracking.stratum == 0:
        return "chronyd has selected no source"
    return ""


def bound_ns(tracking: Tracking) -> int:
    """The clock's greatest error: |offset| + root dispersion + root delay / 2 (chronyc(1), `tracking`),
    as long as the servers at the root are right."""
    delay_ns, dispersion_ns = abs(tracking.root_delay_ns), abs(tracking.root_dispersion_ns)
    return abs(tracking.offset_ns) + dispersion_ns + (delay_ns + 1) // 2
