"""Without Redis a process counts alone, at the same rates."""

from __future__ import annotations

from gateway.hooks.rate import LocalRates
from gateway.hooks.settings import RateSettings


def test_the_minute_is_exhausted_and_comes_back_evenly() -> None:
    rates = LocalRates(RateSettings(per_minute=60, per_hour=500))
    taken = [rates.take("h", 0.0).allowed for _ in range(61)]
    assert taken == [True] * 60 + [False]
    assert rates.take("h", 0.0).retry_after_s == 2
    assert rates.take("h", 1.1).allowed
    assert not rates.take("h", 1.1).allowed
    assert rates.take("another", 1.1).allowed


def test_the_hour_is_exhausted_too() -> None:
    rates = LocalRates(RateSettings(per_minute=60, per_hour=100))
    taken = sum(rates.take("h", second).allowed for second in range(0, 600, 1))
    assert 100 <= taken <= 117
