"""What becomes of an account whose book and broker differ: the words, for tenants and for accounts."""

from __future__ import annotations

from typing import Literal

OnDrift = Literal["report", "correct", "halt"]
"""`report`: told, and trading goes on. `correct`: an order brings the broker's position to our book, where
nobody meant the difference. `halt`: the account is halted."""
