"""A situation that was let in: what the further questions about it are asked of. Pure."""

from __future__ import annotations

import msgspec

from fanout.ports import Caps, Instrument
from fanout.signal import Signal
from fanout.situations import Facts
from tenancy.effective import Wanted
from tenancy.snapshot import Snapshot, Subscribed


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """`row` stands for them all. Its accounts may trade this instrument, if the position allows."""

    signal: Signal
    snapshot: Snapshot
    row: Subscribed
    facts: Facts
    instrument: Instrument
    wanted: Wanted
    forced: bool = False
    inverted: bool = False
    allowed: bool = True
    caps: Caps | None = None


def wanted_of(signal: Signal) -> Wanted:
    """What inheritance looks at. A target counts as the signal's quantity, whatever its sign."""
    quantity, kind = signal.quantity, str(signal.quantity_type)
    if signal.target_position is not None:
        quantity = abs(signal.target_position)
        contracts = signal.target_position_type == "contracts"
        kind = "fixed_quantity" if contracts else "percent_of_equity"
    return Wanted(
        quantity=quantity,
        quantity_type=kind,
        order_type=signal.order_type,
        time_in_force=signal.time_in_force,
        take_profit=signal.take_profit,
        stop_loss=signal.stop_loss,
    )
