"""Exports over the real ring: in clear for whoever may, sealed for an examiner with a key of their own."""

from __future__ import annotations

import json

import psycopg
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from audit.export import escrow
from audit.export.check import verify_package
from audit.export.reader import Keys, open_package
from audit.verdict import OK
from tests.fixtures.audit_ring import *  # noqa: F403
from tests.integration.audit.test_export import exported, said


async def test_sealed_payloads_export_open_and_by_escrow(bench, sealed, tmp_path):
    await bench.append([said(n, oid="o-1") for n in range(5)])
    await bench.recorder.drain()
    await exported(bench, tmp_path / "clear", opener=sealed.ring)
    lines = [json.loads(x) for x in (tmp_path / "clear/records.jsonl").read_text().splitlines()]
    assert json.loads(lines[3]["payload"])["n"] == 3
    key = X25519PrivateKey.generate()
    with psycopg.connect(bench.superuser) as conn:
        (row,) = conn.execute(
            "SELECT sealed FROM audit_keys WHERE tenant_id = %s", (bench.log.tenant_id,)
        ).fetchone()
        audit_key = await sealed.opener.open_secret(
            row, tenant_id=bench.log.tenant_id, subject="audit"
        )
        made = escrow.encrypt(bytes(audit_key), bench.log.tenant_id, key.public_key())
        pem = (
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        )
        conn.execute(
            "INSERT INTO audit_examiners (examiner_id, tenant_id, email, name, days, reason, until,"
            " public_key, escrow)"
            " VALUES (gen_random_uuid(), %s, 'e@example.com', 'E', 1, 'r', now() + '1 day', %s, %s::jsonb)",
            (bench.log.tenant_id, pem, json.dumps(made)),
        )
    await exported(bench, tmp_path / "sealed", opener=sealed.ring, sealed=True)
    package = tmp_path / "sealed"
    assert verify_package(package, bench.log.vkey).verdict.code == OK
    assert b"stays out of the files" not in (package / "records.jsonl").read_bytes()
    states = open_package(package, Keys(package, key), tmp_path / "opened")
    assert states == {"open": 5}
