"""A subscription ties a strategy to an account and says of each parameter: the signal's, or mine."""

from __future__ import annotations

from typing import ClassVar

from tenancy.parameters import Behaviours, OrdType, OverrideQuantityType, TimeInForce
from tenancy.protection import StopLoss, TakeProfit, positive_members
from tenancy.rules import Schema, absent, given
from tenancy.values import Positive


class SubscriptionSettings(
    Behaviours, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What accounts do with a strategy's signals: one's own in a subscription, many's in a group.

    Every member may be absent: then the group's holds, then the strategy's, then the product's.
    `override_quantity_type = "multiplier"` makes `override_quantity` the factor on the signal's
    own quantity. Spec: signal.md (inheritance), sizing.md.
    """

    use_signal_quantity: bool | None = None
    use_signal_order_type_entry: bool | None = None
    use_signal_order_type_exit: bool | None = None
    use_signal_time_in_force_entry: bool | None = None
    use_signal_time_in_force_exit: bool | None = None
    use_signal_take_profit: bool | None = None
    use_signal_stop_loss: bool | None = None

    override_quantity: Positive | None = None
    override_quantity_type: OverrideQuantityType | None = None
    override_order_type_entry: OrdType | None = None
    override_order_type_exit: OrdType | None = None
    override_time_in_force_entry: TimeInForce | None = None
    override_time_in_force_exit: TimeInForce | None = None
    override_take_profit: TakeProfit | None = None
    override_stop_loss: StopLoss | None = None

    rules: ClassVar[Schema] = {
        "anyOf": [absent("override_quantity_type"), given("override_quantity")]
    }

    def __post_init__(self) -> None:
        Behaviours.__post_init__(self)
        positive_members(self, "override_quantity")
        if self.override_quantity_type is not None and self.override_quantity is None:
            raise ValueError(
                "override_quantity_type without an override_quantity says nothing:"
                " set both or neither"
            )
