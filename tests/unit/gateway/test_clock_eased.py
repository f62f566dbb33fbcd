"""Which changes of a tenant's clock settings let orders be opened by a worse clock."""

from __future__ import annotations

import pytest

from gateway.admin.tenants import TenantDocument, danger
from tenancy.tenant import TenantSettings


def settings(tier: str | None, *, stops: bool) -> TenantDocument:
    return TenantDocument(name="Acme", settings=TenantSettings(clock_tier=tier, clock_stops=stops))


OFF = settings(None, stops=False)
SHOWN = settings("mifid_1ms", stops=False)
STOPS = settings("mifid_1ms", stops=True)
WIDER = settings("finra_50ms", stops=True)
TIGHTER = settings("mifid_100us", stops=True)


@pytest.mark.parametrize("after", [OFF, SHOWN, WIDER])
def test_what_eases_the_stop_is_a_looser_limit(after):
    assert "limits" in danger(STOPS, after, {})


@pytest.mark.parametrize(
    ("before", "after"),
    [(OFF, SHOWN), (OFF, STOPS), (SHOWN, OFF), (STOPS, TIGHTER), (STOPS, STOPS)],
)
def test_what_tightens_it_or_stops_nothing_waits_for_nobody(before, after):
    assert danger(before, after, {}) == frozenset()


def test_a_stop_without_a_tier_is_refused():
    with pytest.raises(ValueError, match="clock_stops"):
        settings(None, stops=True)
