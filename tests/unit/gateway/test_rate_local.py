"""Without Redis a process counts alone, at the same rates."""

from __future__ import annotations

from gateway.quota import Claim, Partition, Quota
from gateway.rate import LocalRates


def hook(name: str, per_minute: int = 60, per_hour: int = 500) -> Claim:
    quotas = Quota("hook-minute", per_minute, 60), Quota("hook-hour", per_hour, 3600)
    return Claim(Partition(name, quotas))


def test_the_minute_is_exhausted_and_comes_back_evenly() -> None:
    rates = LocalRates()
    taken = [rates.take(hook("h"), 0.0).allowed for _ in range(61)]
    assert taken == [True] * 60 + [False]
    assert rates.take(hook("h"), 0.0).retry_after_s == 2
    assert rates.take(hook("h"), 1.1).allowed
    assert not rates.take(hook("h"), 1.1).allowed
    assert rates.take(hook("another"), 1.1).allowed


def test_the_hour_is_exhausted_too() -> None:
    rates = LocalRates()
    taken = sum(rates.take(hook("h", 60, 100), second).allowed for second in range(0, 600, 1))
    assert 100 <= taken <= 117


def test_a_tenant_s_quota_refuses_where_each_hook_has_room() -> None:
    rates = LocalRates()
    together = Partition("tenant", (Quota("tenant-minute", 5, 60),))
    claims = [Claim(*hook(f"h{n}").partitions, together) for n in range(3)]
    answers = [rates.take(claims[n % 3], 0.0) for n in range(9)]
    assert [answer.allowed for answer in answers] == [True] * 5 + [False] * 4
    assert answers[-1].policy == "tenant-minute"


def test_a_changed_limit_holds_for_the_next_request() -> None:
    rates = LocalRates()
    assert [rates.take(hook("h", 2), 0.0).allowed for _ in range(3)] == [True, True, False]
    assert rates.take(hook("h", 3), 0.0).allowed


def test_what_is_remembered_is_bounded_by_what_is_in_use() -> None:
    """A bucket that is full again is forgotten when there are too many; one in use is kept."""
    rates = LocalRates(most=3)
    for n in range(3):
        rates.take(hook(f"old{n}"), 0.0)
    assert not any(rates.take(hook("busy", 1), 3600.0).retry_after_s for _ in range(1))
    assert len(rates._buckets) == 1
    assert not rates.take(hook("busy", 1), 3600.0).allowed
