"""The clock's records in their logs: excursions, steps, and a tenant's own tier; through an outage, too."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
import yaml
from prometheus_client import REGISTRY, generate_latest

from audit.record import read
from ops.clock.records import WAITING_MAX, ClockRecords
from tenancy.clock_file import ClockFile, write_report
from tenancy.clock_quality import SECOND, Instants, Report
from tenancy.database import Database
from tenancy.errors import Unavailable
from tests.fakes.note_signer import MemorySigner
from tests.fixtures.audit import add_log

RULES = Path(__file__).parents[3] / "ops" / "alerts" / "clock.yml"
MS = 1_000_000
START = 1_700_000_000 * SECOND


class House:
    """Two tenants, one with a tier, the platform; a host's clocks and an agent's report that a test moves."""

    def __init__(self, database: Any, runtime: Path, pool: Database) -> None:
        signer = MemorySigner()
        self.superuser = database.superuser
        self.platform = add_log(self.superuser, signer, "Platform").tenant_id
        self.fund = add_log(self.superuser, signer, "Fund").tenant_id
        self.other = add_log(self.superuser, signer, "Other").tenant_id
        self.write("UPDATE tenants SET kind = 'platform' WHERE tenant_id = %s", self.platform)
        self.tier(self.fund, "mifid_1ms")
        self.seconds, self.stepped_ns = 100.0, 0
        self._path = runtime / "clock.json"
        self.records = ClockRecords(
            pool, ClockFile(self._path, self.instants), "a host", instants=self.instants
        )

    def instants(self) -> Instants:
        return Instants(
            boot="one", boottime_ns=int(self.seconds * SECOND),
            offset_ns=START + self.stepped_ns, uncertainty_ns=100,
        )  # fmt: skip

    def measured(self, err_ns: int | None) -> None:
        now = self.instants()
        write_report(self._path, Report(
            boot="one", written_ns=now.boottime_ns, offset_ns=now.offset_ns, uncertainty_ns=100,
            src="chrony", measured_ns=now.boottime_ns, err_ns=err_ns, error_max_ns=50 * MS,
            why="" if err_ns else "chronyd is not synchronised",
        ))  # fmt: skip

    async def look(self, err_ns: int | None, seconds: float = 1.0) -> int:
        self.seconds += seconds
        self.measured(err_ns)
        return await self.records.turn()

    def tier(self, tenant: UUID, tier: str) -> None:
        self.write(
            "UPDATE tenants SET settings = jsonb_build_object('clock_tier', %s::text)"
            " WHERE tenant_id = %s", tier, tenant,
        )  # fmt: skip

    def write(self, query: str, *values: Any) -> None:
        with psycopg.connect(self.superuser) as conn:
            conn.execute(query, values)

    def told(self, tenant: UUID) -> list[dict[str, Any]]:
        with psycopg.connect(self.superuser) as conn:
            rows = conn.execute(
                "SELECT payload, kind FROM audit_inbox WHERE tenant_id = %s ORDER BY seq", (tenant,)
            ).fetchall()
        assert {kind for _, kind in rows} <= {"clock"}
        return [json.loads(bytes(payload)) for payload, _ in rows]

    def events(self, tenant: UUID) -> list[str]:
        return [facts["event"] for facts in self.told(tenant)]


@pytest.fixture
async def house(database, tmp_path) -> AsyncIterator[House]:
    pool = Database(database.conninfo("recorder"), name="test-recorder", size=2)
    await pool.open()
    yield House(database, tmp_path, pool)
    await pool.close()


async def test_an_excursion_is_told_to_the_operators_and_to_whose_tier_it_is_over(house):
    await house.look(MS // 2)
    await house.look(3 * MS)
    await house.look(80 * MS)
    for _ in range(12):
        await house.look(MS // 2)
    assert house.events(house.platform) == ["began", "state", "state"]
    assert house.events(house.fund) == ["over_tier", "within_tier"]
    assert house.events(house.other) == []
    over = house.told(house.fund)[0]
    assert (over["tier"], over["tier_ns"], over["host"]) == ("mifid_1ms", MS, "a host")
    assert 3 * MS <= over["err_ns"] < 4 * MS
    worse = house.told(house.platform)[1]
    assert (worse["state"], worse["src"]) == ("degraded", "chrony")


async def test_a_step_is_a_record_with_how_far(house):
    await house.look(MS // 2)
    house.stepped_ns = -2 * SECOND
    house.records.jumped(-2 * SECOND)
    await house.look(MS // 2)
    told = [facts for facts in house.told(house.platform) if facts["event"] == "step"]
    assert [facts["by_ns"] for facts in told] == [-2 * SECOND]


async def test_no_source_is_told_with_why(house):
    await house.look(MS // 2)
    await house.look(None)
    told = house.told(house.platform)[-1]
    assert (await house.records.seen()).endswith("; 1 tenants' tier mifid_1ms is not met")
    assert (told["state"], told["err_ns"], told["why"]) == (
        "unknown", None, "chronyd is not synchronised",
    )  # fmt: skip
    assert (
        REGISTRY.get_sample_value("portcullis_clock_tenants_over_tier", {"tier": "mifid_1ms"}) == 1
    )


async def test_every_hour_is_a_line_of_the_sync_log(house):
    await house.look(MS // 2)
    await house.look(2 * MS)
    await house.look(MS // 2, seconds=3600)
    (sync,) = [facts for facts in house.told(house.platform) if facts["event"] == "sync"]
    assert 2 * MS <= sync["worst_err_ns"] < 3 * MS


async def test_what_happens_while_postgresql_is_away_is_told_afterwards(house, database, tmp_path):
    """As it was at that time, and the tenant's, too; what had to be dropped is counted."""
    await house.look(MS // 2)
    pool = Database("host=/nonexistent", name="away", size=1, acquire_timeout_s=0.05)
    there, house.records._database = house.records._database, pool
    with pytest.raises(Unavailable):
        await house.look(80 * MS)
    at_ns = START + int(house.seconds * SECOND)
    for _ in range(WAITING_MAX + 3):
        house.records.jumped(5 * MS)
    house.records._database = there
    assert await house.look(80 * MS) == WAITING_MAX
    told = house.told(house.platform)
    assert told[1]["event"] == "state"
    assert told[-1]["records_dropped_before"] == 5
    with psycopg.connect(house.superuser) as conn:
        rows = conn.execute(
            "SELECT ts FROM audit_inbox WHERE tenant_id = %s ORDER BY seq", (house.fund,)
        ).fetchall()
    assert rows == [(at_ns,)]


async def test_before_there_is_a_platform_records_wait(house):
    house.write("UPDATE tenants SET kind = 'customer' WHERE tenant_id = %s", house.platform)
    with pytest.raises(Unavailable, match="no platform"):
        await house.look(MS // 2)
    house.write("UPDATE tenants SET kind = 'platform' WHERE tenant_id = %s", house.platform)
    assert await house.look(MS // 2) == 1
    assert house.events(house.platform) == ["began"]


async def test_a_leaf_of_the_recorder_holds_the_bound_of_its_own_moment(bench, tmp_path):
    """From the agent's file to the published leaf."""
    from tests.fixtures.audit import entry

    seconds = 100 * SECOND
    now = Instants(boot="one", boottime_ns=seconds, offset_ns=START, uncertainty_ns=0)
    write_report(tmp_path / "clock.json", Report(
        boot="one", written_ns=seconds, offset_ns=START, uncertainty_ns=0, src="chrony",
        measured_ns=seconds, err_ns=1_532_041, error_max_ns=50 * MS,
    ))  # fmt: skip
    stepped = msgspec.structs.replace(now, offset_ns=START + SECOND)
    moments = [now]
    file = ClockFile(tmp_path / "clock.json", lambda: moments[-1])
    bench.recorder._parts.quality = file.quality
    await bench.append([entry(1)])
    await bench.recorder.drain()
    moments.append(stepped)
    await bench.append([entry(2)])
    await bench.recorder.drain()
    leaves = [read(bytes(row[0])) for row in bench.rows("SELECT leaf FROM audit_leaves ORDER BY i")]
    assert [leaf.members["clk"] for leaf in leaves] == [
        {"err": 1_532_042, "src": "chrony", "state": "ok"},
        {"err": 1_532_042 + SECOND, "src": "chrony", "state": "degraded"},
    ]


def test_alert_rules_name_metrics_that_exist_and_say_something():
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    text = generate_latest().decode()
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]
        for name in re.findall(r"portcullis_\w+", rule["expr"]):
            assert f"# TYPE {name} " in text, f"{rule['alert']}: there is no metric {name}"
    promtool = shutil.which("promtool")
    if promtool is not None:  # Debian's `prometheus` has it; the appliance does not need it
        subprocess.run([promtool, "check", "rules", str(RULES)], check=True, capture_output=True)
