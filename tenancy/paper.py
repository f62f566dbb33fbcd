"""Which brokers are paper: `paper`, and for each real broker one that imitates it, for its shadows.

A shadow (docs/shadows.md) is a paper twin of a live account. Its account is at `shadow-<broker>`,
where orders fill on paper at that broker's prices. The database lets shadows alone be there, so
whoever has an order or a plan's entry before them can tell by the broker in it whether it counts.
"""

from __future__ import annotations

PAPER = "paper"
_SHADOW = "shadow-"

LIVE_SQL = f"(broker <> '{PAPER}' AND NOT starts_with(broker, '{_SHADOW}'))"
"""Whether an account moves real money, as an expression of PostgreSQL's."""


def shadow_broker(broker: str) -> str:
    """Where the shadows of that broker's accounts are."""
    return _SHADOW + broker


def is_shadow(broker: str) -> bool:
    """Whether all that is there are shadows."""
    return broker.startswith(_SHADOW)


def is_live(broker: str) -> bool:
    """Whether orders there move real money."""
    return broker != PAPER and not is_shadow(broker)
