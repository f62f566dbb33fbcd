"""What a restored database is told before anybody uses it: sign nothing, send nothing, until people looked.

A database that came from a backup cannot know what happened after its last WAL: whether a longer log was
signed and shown to a witness, whether orders were sent that it has never heard of. No file of the
repository can say so either, for the host may have gone on without its archive. So both stand still:

1. Every log is halted (audit/halts.py): the recorder signs nothing of it, so that it cannot fork what
   was signed before; two people of the platform lift that after comparing (docs/operating/backup.md).
2. The platform's kill switch is at `halted`: no order of anybody's leaves, no exit either, so that what
   was sent already is not sent again. An operator releases it; then each account is compared with its
   broker before anything opens (fanout/reconcile_gate.py).

The rows are written by the superuser before any process of ours has seen the database.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from tenancy.ids import new_id
from tenancy.scope import Actor

BY = Actor("sys", "restore")

_OPEN_LOGS = """
SELECT l.log_id, l.tenant_id FROM audit_logs l
WHERE NOT EXISTS (SELECT FROM audit_halts h WHERE h.log_id = l.log_id
                  AND NOT EXISTS (SELECT FROM audit_lifts f WHERE f.halt_id = h.halt_id))"""
_HALT_LOG = """
INSERT INTO audit_halts (halt_id, log_id, tenant_id, source, why) VALUES (%s, %s, %s, 'person', %s)"""
_SWITCH = """
UPDATE tenants SET state = 'halted' WHERE kind = 'platform' RETURNING tenant_id"""
_SAY_WHY = """
INSERT INTO interventions
       (intervention_id, tenant_id, part, level, scope, object_id, reason, by, at, state, ended_at)
VALUES (%(id)s, %(tenant)s, 0, 'block_all', 'platform', %(tenant)s, %(why)s, %(by)s, %(at)s, 'done', %(at)s)"""


def halt_everything(conn: psycopg.Connection, why: str, now: datetime) -> int:
    """Both, in one transaction, above row-level security; how many logs are halted by it."""
    with conn.transaction():
        logs = conn.execute(_OPEN_LOGS).fetchall()
        for log_id, tenant_id in logs:
            conn.execute(_HALT_LOG, (new_id(), log_id, tenant_id, why))
        platform = conn.execute(_SWITCH).fetchone()
        if platform is not None:
            conn.execute(
                _SAY_WHY,
                {"id": new_id(), "tenant": platform[0], "why": why[:1000], "at": now,
                 "by": Jsonb(msgspec.to_builtins(BY))},
            )  # fmt: skip
    return len(logs)
