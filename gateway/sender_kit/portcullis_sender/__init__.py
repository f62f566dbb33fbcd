"""Send trading signals to a Portcullis hook.

    from portcullis_sender import Sender, Signal

    with Sender("https://gateway.example/v1/hooks/hk_…", "whsec_…") as strategy:
        receipt = strategy.send(Signal(ticker="BTC_USDT", action="buy", quantity="0.5"))
        print(receipt.signal_id)

The same with `await`, from `portcullis_sender.aio import AsyncSender` (needs aiohttp).

A signal is repeated under one id until somebody has answered: the gateway answers a repeat as it
answered the first, and causes nothing twice. What was refused is never repeated.
"""

from .client import Sender
from .delivery import Policy, Receipt
from .errors import (
    InvalidSignal,
    MessageConflict,
    NotDelivered,
    Problem,
    Refused,
    SenderError,
    Unauthenticated,
)
from .signal import Signal, StopLoss, TakeProfit
from .signing import Ed25519Key, HmacKey, Key, read_key, signature_headers

__all__ = [
    "Ed25519Key",
    "HmacKey",
    "InvalidSignal",
    "Key",
    "MessageConflict",
    "NotDelivered",
    "Policy",
    "Problem",
    "Receipt",
    "Refused",
    "Sender",
    "SenderError",
    "Signal",
    "StopLoss",
    "TakeProfit",
    "Unauthenticated",
    "read_key",
    "signature_headers",
]
