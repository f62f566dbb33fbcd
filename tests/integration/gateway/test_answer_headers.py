"""Every answer tells a browser what it must not make of it."""

from __future__ import annotations

import pytest

from tests.fixtures.api import Api

pytestmark = pytest.mark.stack


@pytest.mark.parametrize(
    "path", ["/v1/strategies", "/v1/nothing", "/v1/docs", "/v1/openapi.json", "/healthz"]
)
async def test_no_answer_is_sniffed_framed_or_followed_over_plain_http(api: Api, path: str):
    reply = await api.as_("admin")("GET", path)
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert reply.headers["strict-transport-security"].startswith("max-age=")
