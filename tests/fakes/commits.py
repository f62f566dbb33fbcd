"""A COMMIT that happens, and whose answer is lost."""

from __future__ import annotations

import tenancy.database
from tenancy.errors import OutcomeUnknown


class UnknownCommit:
    """Commits for real, then says that it does not know, once: where `query` finds own changes."""

    def __init__(self, monkeypatch, query: str) -> None:
        self.query = query
        self.happened = 0
        self._commit = tenancy.database.commit
        monkeypatch.setattr(tenancy.database, "commit", self)

    async def __call__(self, conn) -> None:
        mine = f"{self.query} AND xmin = pg_current_xact_id()::xid"
        hit = not self.happened and await (await conn.execute(mine)).fetchone() is not None
        await self._commit(conn)
        if hit:
            self.happened += 1
            raise OutcomeUnknown("the answer to COMMIT was lost")
