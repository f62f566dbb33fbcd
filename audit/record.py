"""The kinds of records."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What happened. Spec: audit.md, "Kinds"."""

    SIGNAL_ACCEPTED = "signal.accepted"
    SIGNAL_REFUSED = "signal.refused"
    SIGNAL_PLANNED = "signal.planned"
    ORDER_INTENT = "order.intent"
    ORDER_ACKNOWLEDGED = "order.acknowledged"
    ORDER_REJECTED = "order.rejected"
    ORDER_FILL = "order.fill"
    ORDER_CANCEL = "order.cancel"
    ORDER_CLOSE = "order.close"
    ORDER_IN_DOUBT = "order.in_doubt"
    ORDER_RESOLVED = "order.resolved"
