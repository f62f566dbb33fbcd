"""Limits are changed by whoever may change limits, whichever way round they go."""

from __future__ import annotations

import pytest

from tests.fixtures.api import Api
from tests.integration.gateway.set_up import PAPER, furnish

pytestmark = pytest.mark.stack
TIGHT = {"limits": {"max_order_quantity": "1"}}


async def test_a_tenants_limits_need_the_right_to_change_limits(api: Api) -> None:
    key = await api.key("admin", ["tenant:read", "tenant:write"])
    refused = await key("PATCH", "/v1/tenant", TIGHT, {"if-match": "*"})
    assert (refused.status, refused.json()["code"]) == (403, "forbidden")
    renamed = await key(
        "PATCH", "/v1/tenant", {"settings": {"proposal_hours": 5}}, {"if-match": "*"}
    )
    assert renamed.status == 200


async def test_an_account_is_not_moved_out_of_its_groups_limits_without_that_right(
    api: Api,
) -> None:
    admin, key = api.as_("admin"), await api.key("admin", ["accounts:read", "accounts:write"])
    strict = await admin.make("/v1/groups", name="strict", **TIGHT)
    account = await admin.make("/v1/accounts", name="b", group_id=strict["group_id"], **PAPER)
    address = f"/v1/accounts/{account['account_id']}"
    refused = await key("PATCH", address, {"group_id": None}, {"if-match": "*"})
    assert (refused.status, "limits:write" in refused.json()["detail"]) == (403, True)


async def test_an_account_is_not_moved_out_of_a_halted_group_without_the_right_to_release(
    api: Api,
) -> None:
    admin, made = api.as_("admin"), await furnish(api)
    key = await api.key("admin", ["accounts:read", "accounts:write"])
    stop = {"scope": "group", "object_id": made["groups"], "level": "block_all", "reason": "fire"}
    assert (await admin("POST", "/v1/halts", stop)).status == 200
    address = f"/v1/accounts/{made['accounts']}"
    refused = await key("PATCH", address, {"group_id": None}, {"if-match": "*"})
    assert (refused.status, "halts:write" in refused.json()["detail"]) == (403, True)
