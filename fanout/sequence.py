"""In which order a signal's accounts trade: who is first matters to one manager's clients. Pure.

`rotate` shifts by one account with each plan of the strategy, `random` is drawn from the seed
(so that it can be recomputed), `fixed` goes by the subscriptions' priority. Spec: sizing.md.
"""

from __future__ import annotations

import hashlib
from random import Random

from tenancy.strategy import Sequence
from tenancy.values import SignalID


def seed_of(signal: SignalID) -> int:
    """The plan's seed: 63 bits of the signal id's SHA-256."""
    return int.from_bytes(hashlib.sha256(signal.bytes).digest()[:8], "big") >> 1


def fan_out_order(count: int, sequence: Sequence, *, seed: int, rotation: int) -> list[int]:
    """The rows of the snapshot (which are in priority order) in the order in which they trade."""
    rows = list(range(count))
    if count == 0 or sequence == "fixed":
        return rows
    if sequence == "rotate":
        shift = rotation % count
        return rows[shift:] + rows[:shift]
    Random(seed).shuffle(rows)  # noqa: S311 - fairness that can be recomputed, not secrecy
    return rows
