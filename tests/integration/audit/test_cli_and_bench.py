"""The operator's commands on a real log, and the benchmark end to end (short)."""

from __future__ import annotations

import asyncio
import json

from click.testing import CliRunner

from audit import record
from audit.merkle import leaf_hash
from ops.bench import audit_files
from ops.bench.audit import run
from ops.bench.unsealed import give_audit_key
from ops.cli.main import cli
from ops.initialise import Choices, document
from ops.paths import places
from ops.toml import dumps
from tests.fixtures.audit import entry


async def invoke(*arguments, settings=None):
    words = [str(one) for one in arguments]
    return await asyncio.to_thread(
        lambda: CliRunner().invoke(cli, ["--settings", str(settings), "audit", *words])
    )


def settings_of(bench, database, directory, **recorder):
    """An installation's settings file that names this test's database and store; `recorder`: more of it."""
    made = document(places(directory / "var"), Choices())
    made["database"]["admin"] = database.conninfo("admin")
    made["database"]["recorder"] = database.conninfo("recorder")
    made["hsm"]["audit_socket"] = directory / "audit.sock"
    made["recorder"] |= {"store": bench.store_dir, **recorder}
    file = directory / "portcullis.toml"
    file.write_text(dumps(made))
    file.chmod(0o600)
    return file


async def test_the_operator_verifies_and_proves(bench, database, tmp_path):
    await bench.append([entry(n, oid="o-1") for n in range(3)])
    await bench.recorder.drain()
    verified = await invoke("verify", bench.directory)
    assert (verified.exit_code, verified.output.split(":")[0]) == (0, "verified")
    proved = await invoke(
        "prove", "--order", "o-1", "--tenant", bench.log.tenant_id,
        "--out", tmp_path / "bundle.json", settings=settings_of(bench, database, tmp_path),
    )  # fmt: skip
    assert proved.exit_code == 0, proved.output
    key = bench.directory / "vkey"
    checked = await invoke("verify-bundle", tmp_path / "bundle.json", "--vkey-file", key)
    assert (checked.exit_code, checked.output.split(":")[0]) == (0, "verified")

    bundle = bench.directory / "tile/entries/000.p/3"
    bundle.chmod(0o644)
    bundle.write_bytes(bundle.read_bytes().replace(b"order.intent", b"order.INTENT", 1))
    broken = await invoke("verify", bench.directory, "--vkey-file", key, "--json")
    assert broken.exit_code == 2
    assert json.loads(broken.output)["first_bad_index"] == 0


async def test_an_unknown_order_is_named(bench, database, tmp_path):
    bench.store_dir.mkdir()
    proved = await invoke(
        "prove", "--order", "o-9", "--tenant", bench.log.tenant_id,
        settings=settings_of(bench, database, tmp_path),
    )  # fmt: skip
    assert proved.exit_code == 1
    assert "no order 'o-9'" in proved.output


def test_the_bench_of_files_measures_logs_that_verify(tmp_path, monkeypatch):
    """Its records are those of the product, its proofs lead to the root, and the log is whole."""
    monkeypatch.setattr(audit_files, "PROVEN", 40 * 70_000)
    monkeypatch.setattr(audit_files, "REVERIFIED", 8 * 1_300)
    monkeypatch.setattr(audit_files, "PROOFS", 20)
    figures = audit_files.run(tmp_path, 1, quick=True).measurements()
    assert [figure.name for figure in figures] == [
        "audit_proof_p99_ms",
        "audit_reverify_leaves_per_s",
    ]
    assert all(figure.value > 0 and figure.floor > 0 for figure in figures)
    first, second = audit_files.records(0, 2)
    assert record.read(second).op == leaf_hash(first).hex()


async def test_the_benchmark_runs_and_names_its_figures(bench, database, tmp_path):
    async with bench.admin.tenant(bench.scope) as conn:
        await give_audit_key(conn, bench.scope)
    figures = await run(
        ingress=database.conninfo("ingress"), recording=bench.recording, tenant=bench.log.tenant_id,
        signer=bench.signer, store_dir=tmp_path / "audit", floor_conninfo=database.superuser,
        seconds=0.4, runs=1,
    )  # fmt: skip
    assert [figure.name for figure in figures] == [
        "audit_records_per_s", "audit_ack_p99_ms", "audit_integrated_p99_ms",
    ]  # fmt: skip
    assert all(figure.value > 0 and figure.floor > 0 for figure in figures)
