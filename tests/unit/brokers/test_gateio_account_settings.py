"""What a tenant says about one account at Gate.io futures."""

from __future__ import annotations

import pytest

from fanout.brokers.gateio.account_settings import AccountSettings, BadAccountSettings, read


def test_the_houses_own_keys_are_not_the_brokers():
    assert read({"dead_man_s": 30}) == AccountSettings()
    assert read({"dead_man_s": 30, "position_mode": "hedge"}).hedge


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"positon_mode": "hedge"}, "positon_mode"),
        ({"leverage": "10"}, "leverage needs margin_mode"),
        ({"margin_mode": "cross", "leverage": "201"}, "1 to 200, got 201"),
        ({"position_mode": "both"}, "position_mode"),
    ],
)
def test_what_is_not_gates_is_named(settings, says):
    with pytest.raises(BadAccountSettings, match=says) as caught:
        read(settings)
    assert "known are position_mode, margin_mode, leverage, account_kind" in str(caught.value)
