"""Every case at every adapter: what its Caps claim holds, and what they do not claim is refused for good."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.acceptance import cases
from tests.acceptance.case import CASES
from tests.acceptance.columns import COLUMNS, Column, Fresh, seated
from tests.acceptance.desk import Desk

pytestmark = pytest.mark.asyncio(loop_scope="module")
assert cases.GROUPS


@pytest_asyncio.fixture(params=sorted(COLUMNS), scope="module", loop_scope="module")
async def floor(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Column, Fresh]]:
    column = COLUMNS[request.param]
    async with column.open() as fresh:
        yield column, fresh


@pytest_asyncio.fixture(loop_scope="module")
async def desk(floor: tuple[Column, Fresh]) -> AsyncIterator[Desk]:
    async with seated(*floor) as taken:
        yield taken


@pytest.mark.parametrize("number", CASES)
async def test_case(number: str, floor: tuple[Column, Fresh], desk: Desk) -> None:
    case, claims = CASES[number], floor[0].claims()
    assert claims.caps == desk.caps, "the page speaks of another adapter than the one that trades"
    if case.met_by(claims):
        await case.run(desk)
    else:
        assert case.need is not None
        await case.need.refused(desk)
