"""How long execution waits: for leases, before it tries again, before it asks again."""

from __future__ import annotations

import msgspec

LEASE_MARGIN_S = 0.2
"""How much longer than the longest request a lease must last for a send to begin."""
TURN_MARGIN_S = 0.05
"""So much after the deadline of an order its wait for a place ends, and the deadline with it."""


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait before trying or asking again, in seconds."""

    unsent_first_s: float = 0.1
    unsent_most_s: float = 2.0
    doubt_first_s: float = 0.25
    doubt_most_s: float = 5.0
    attempts_max: int = 50
    durable_within_s: float = 4.0
    """How long an intent and its audit record may take to be durable for its order to open a position."""
