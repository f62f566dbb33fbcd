"""A package of an anchored log carries its witnesses' word, which reaches so far and no further."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from audit.export import kit
from audit.export.check import describe, file_sha256, verify_package
from audit.export.package import Exporter, Plan
from audit.export.rows import InClear
from audit.export.selection import Selection
from audit.logs import Log
from audit.malformed import Malformed
from audit.policy import Policy, parse_policy
from audit.verdict import INCOMPLETE, INCONSISTENT, OK, TAMPERED, UNWITNESSED
from audit.verifier_evidence import Evidence
from audit.witness.witness import create, load
from tenancy.clock import SystemClock
from tests.fakes.signer_daemon import audit_door, give_audit_key
from tests.fixtures.audit import Bench, add_log, entry
from tests.integration.audit.test_anchors import (
    Served,
    anchor,
    anchored_to,
    directory,
    policy_of,
    running,
    settings,
    until,
    witnesses,
)
from tests.integration.audit.test_cli_and_bench import invoke, settings_of

__all__ = ["anchor", "witnesses"]

pytestmark = pytest.mark.stack

ANCHORED, HEAD = 3, 8
"""So many records are under the anchor, and so many under the package's checkpoint."""
LATER = HEAD + 2
"""What the log has once the export's own two records are in it."""
PROOF, CONSISTENCY = "anchor/proof", "anchor/consistency.json"


@dataclass
class House:
    """A log whose last anchor is older than its head, and its package."""

    bench: Bench
    anchor: Log
    other: Log
    policy: bytes
    package: Path

    @property
    def brought(self) -> Evidence:
        return Evidence(parse_policy(self.policy), anchor_keys=self.anchor.known)

    def verified(self, brought: Evidence | None = None):
        return verify_package(self.package, self.bench.log.vkey, brought or self.brought)

    def code(self, brought: Evidence | None = None) -> int:
        return self.verified(brought).verdict.code

    def anchor_of(self, log: Log) -> Path:
        return directory(self.bench, log) / "anchor"

    def renew_manifest(self) -> None:
        """As whoever may write the directory can: then the manifest gives nothing away."""
        file = self.package / "manifest.json"
        manifest = json.loads(file.read_bytes())
        found = [self.package / item["name"] for item in manifest["files"]]
        manifest["files"] = [
            {
                "name": path.relative_to(self.package).as_posix(),
                "bytes": path.stat().st_size, "sha256": file_sha256(path),
            }
            for path in found if path.exists()
        ]  # fmt: skip
        file.write_text(json.dumps(manifest))

    def put(self, name: str, data: bytes) -> None:
        (self.package / name).write_bytes(data)
        self.renew_manifest()


async def export(bench: Bench, package: Path, policy: Policy | None = None) -> None:
    exporter = Exporter(
        bench.admin, bench.scope, bench.store_dir, SystemClock(), opener=InClear(), policy=policy
    )
    plan = Plan(export_id=uuid.uuid4(), selection=Selection(), why="a question")
    await exporter.make(plan, package)


async def anchored_log(bench: Bench, witnesses: list[Served]) -> Log:
    """Three records of each of two logs are anchored, and five more of the first recorded after that."""
    other = add_log(bench.superuser, bench.signer, "second")
    for log in (bench.log, other):
        await bench.append([entry(n, oid="o-1") for n in range(ANCHORED)], log)
    async with running(bench, settings(witnesses)):
        for log in (bench.log, other):
            await until(anchored_to(bench, log, ANCHORED))
    await bench.append([entry(n, oid="o-2") for n in range(HEAD - ANCHORED)])
    bench.recorder = bench.new_recorder()
    await bench.recorder.drain()
    return other


@pytest.fixture
async def house(bench, anchor, witnesses, tmp_path) -> House:
    other = await anchored_log(bench, witnesses)
    policy = policy_of(witnesses)
    await export(bench, tmp_path / "p", parse_policy(policy))
    return House(bench, anchor, other, policy, tmp_path / "p")


async def test_the_witnesses_word_is_counted_and_reaches_the_anchored_size_only(house):
    made = house.verified()
    assert (made.verdict.code, made.verdict.findings) == (OK, [])
    assert (made.anchored, made.verdict.witnessed, made.verdict.size) == (ANCHORED, ANCHORED, HEAD)
    assert made.complete == (0, HEAD)
    said = describe(made)
    assert "witnessed as the policy asks: the log's first 3 records" in said
    assert "record 3 and those after it: by the log's own signature alone" in said
    hashes = json.loads((house.package / CONSISTENCY).read_bytes())
    assert len(hashes) > 1
    assert (house.package / PROOF).read_bytes() == house.anchor_of(house.bench.log).read_bytes()


async def test_who_brings_no_policy_learns_that_nobody_was_counted(house):
    made = house.verified(replace(house.brought, policy=None))
    assert (made.verdict.code, made.anchored, made.verdict.witnessed) == (OK, ANCHORED, None)
    assert "anchored, witnesses not counted" in describe(made)


async def test_who_brings_nothing_sees_what_every_package_shows(house):
    made = verify_package(house.package, house.bench.log.vkey)
    assert (made.verdict.code, made.anchored, made.verdict.witnessed) == (OK, None, None)
    assert "anchored" not in describe(made)


async def test_an_anchor_of_the_head_itself_needs_no_hashes(house, witnesses):
    async with running(house.bench, settings(witnesses)):
        await until(anchored_to(house.bench, house.bench.log, LATER))
    house.package = house.package.with_name("later")
    await export(house.bench, house.package)
    assert json.loads((house.package / CONSISTENCY).read_bytes()) == []
    made = house.verified()
    assert (made.verdict.code, made.verdict.witnessed) == (OK, LATER)
    assert "signature alone" not in describe(made)


async def test_any_changed_byte_of_the_evidence_is_found(house):
    """By the manifest; and where whoever changed it wrote that anew, by what the evidence says."""
    for name in (PROOF, CONSISTENCY):
        file = house.package / name
        right = file.read_bytes()
        for at in range(0, len(right), 97):
            file.write_bytes(right[:at] + bytes([right[at] ^ 1]) + right[at + 1 :])
            assert house.code() == TAMPERED, (name, at)
        file.write_bytes(right)
    right = json.loads((house.package / PROOF).read_bytes())
    changes = {
        "format": "x", "slot": right["slot"] ^ 1, "slots": 512, "salt": right["hashes"][0],
        "hashes": right["hashes"][::-1], "leaf": right["leaf"].replace("recorder", "somebody"),
        "proof": right["proof"].replace("\nindex ", "\nindex 1"), "checkpoint": "\ud800",
    }  # fmt: skip
    for name, value in changes.items():
        house.put(PROOF, json.dumps({**right, name: value}).encode())
        assert house.code() == TAMPERED, name
    smaller = right["checkpoint"].replace(f"\n{ANCHORED}\n", "\n2\n")
    house.put(PROOF, json.dumps({**right, "checkpoint": smaller}).encode())
    assert house.code() == TAMPERED


async def test_a_cosignature_that_was_changed_refuses_the_anchor(house, witnesses):
    right = json.loads((house.package / PROOF).read_bytes())
    lines = right["proof"].split("\n")
    at = next(n for n, line in enumerate(lines) if witnesses[0].witness.key.name in line)
    lines[at] = lines[at][:-8] + ("AAAA" if lines[at][-8:-4] != "AAAA" else "BBBB") + lines[at][-4:]
    house.put(PROOF, json.dumps({**right, "proof": "\n".join(lines)}).encode())
    assert house.code() == TAMPERED


async def test_hashes_that_do_not_lead_from_one_head_to_the_other_prove_nothing(house):
    right = json.loads((house.package / CONSISTENCY).read_bytes())
    for n, digest in enumerate(right):
        other = ("0" if digest[0] != "0" else "1") + digest[1:]
        house.put(CONSISTENCY, json.dumps([*right[:n], other, *right[n + 1 :]]).encode())
        made = house.verified()
        assert made.verdict.code == INCONSISTENT
        assert (made.anchored, made.verdict.witnessed) == (None, None)
    for wrong in (right[1:], [*right, right[0]], []):
        house.put(CONSISTENCY, json.dumps(wrong).encode())
        assert house.code() == INCONSISTENT
    for wrong in (b"", b"{}", b"[1]", b'["00"]', b"[" * 100_000):
        house.put(CONSISTENCY, wrong)
        assert house.code() == TAMPERED
    (house.package / CONSISTENCY).unlink()
    house.renew_manifest()
    assert house.code() == INCOMPLETE


async def test_another_logs_anchor_says_nothing_of_this_one(house):
    house.put(PROOF, house.anchor_of(house.other).read_bytes())
    made = house.verified()
    assert (made.verdict.code, made.verdict.witnessed) == (INCONSISTENT, None)
    assert house.other.origin in made.verdict.findings[0].what


async def test_an_anchor_that_holds_more_than_the_head_is_refused(house, witnesses):
    """The log had more records than this package's checkpoint admits."""
    async with running(house.bench, settings(witnesses)):
        told = await until(anchored_to(house.bench, house.bench.log, LATER))
    house.put(PROOF, told.as_bytes())
    made = house.verified()
    assert (made.verdict.code, made.verdict.first_bad_index) == (INCONSISTENT, HEAD)
    assert made.verdict.witnessed is None


async def test_too_few_witnesses_are_told_from_everything_that_is_wrong(house, tmp_path):
    create(tmp_path / "absent", "witness.test/absent")
    absent = load(tmp_path / "absent", lambda: 0.0).key.public
    both = house.policy.replace(b"quorum g\n", b"")
    wanted = both + f"witness absent {absent}\ngroup h all g absent\nquorum h\n".encode()
    made = house.verified(replace(house.brought, policy=parse_policy(wanted)))
    assert (made.verdict.code, made.verdict.witnessed) == (UNWITNESSED, None)
    assert made.verdict.findings[0].what.endswith("cosigned by w0, w1; not by absent")
    enough = wanted.replace(b"group h all", b"group h any")
    assert house.code(replace(house.brought, policy=parse_policy(enough))) == OK


async def test_another_anchor_logs_key_does_not_open_it(house):
    stranger = replace(house.brought, anchor_keys=house.bench.log.known)
    assert house.code(stranger) == TAMPERED


async def test_a_package_whose_anchor_was_taken_out_is_unwitnessed(house):
    manifest = json.loads((house.package / "manifest.json").read_bytes())
    shutil.rmtree(house.package / "anchor")
    assert house.code() == INCOMPLETE
    assert {item["name"] for item in manifest["files"]} >= {PROOF, CONSISTENCY, "anchor/vkey"}
    house.renew_manifest()
    assert house.code() == UNWITNESSED
    assert house.code(replace(house.brought, policy=None)) == UNWITNESSED
    assert verify_package(house.package, house.bench.log.vkey).verdict.code == OK


async def test_a_log_without_an_anchor_exports_and_verifies_as_before(bench, tmp_path):
    await bench.append([entry(n) for n in range(3)])
    await bench.recorder.drain()
    await export(bench, tmp_path / "p")
    assert not (tmp_path / "p/anchor").exists()
    assert "had not been anchored" in (tmp_path / "p/README.md").read_text()
    made = verify_package(tmp_path / "p", bench.log.vkey)
    assert (made.verdict.code, made.verdict.findings) == (OK, [])


Change = Callable[[House], bytes]
WRONG: dict[str, Change] = {
    "another log's": lambda house: house.anchor_of(house.other).read_bytes(),
    "damaged": lambda house: house.anchor_of(house.bench.log).read_bytes().replace(b"index", b"jndex"),
    "no anchor": lambda house: b"{}",
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
async def test_an_anchor_that_does_not_fit_the_log_is_not_given_out(house, name):
    wrong = WRONG[name](house)
    file = house.anchor_of(house.bench.log)
    file.unlink()
    file.write_bytes(wrong)
    with pytest.raises(Malformed):
        await export(house.bench, house.package.with_name("q"))
    assert list(house.package.parent.glob("q*")) == []


async def test_the_readers_list_of_whom_we_asked_goes_along_without_addresses(house):
    shown = (house.package / "policy").read_bytes()
    assert b"http" not in shown
    assert parse_policy(shown).is_met_by({"w0", "w1"})
    assert not parse_policy(shown).is_met_by({"w0"})
    readme = (house.package / "README.md").read_text()
    assert "the log's first 3 records" in readme
    assert "witness.test/w0, witness.test/w1" in readme
    assert house.anchor.vkey.splitlines()[0] in readme
    assert "Bring your own" in readme


async def test_the_program_in_the_package_counts_the_witnesses(house, tmp_path):
    """Isolated, without this source tree: what the step imports is in the file."""
    for name, data in (
        ("keys", house.anchor.vkey.encode()), ("policy", house.policy),
        ("bad", b"quorum\n"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(data)
    keys = ["--anchor-vkey-file", tmp_path / "keys"]

    async def run(*words):
        program = [sys.executable, "-I", house.package / kit.NAME, house.package]
        done = await asyncio.to_thread(
            subprocess.run, [*program, "--vkey", house.bench.log.vkey, *words],
            capture_output=True, text=True, cwd=tmp_path, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    code, said = await run(*keys, "--policy", tmp_path / "policy", "--json")
    assert (code, json.loads(said)["witnessed"], json.loads(said)["anchored"]) == (OK, 3, 3)
    for name in ("bad", "nowhere"):
        code, said = await run(*keys, "--policy", tmp_path / name)
        assert (code, said.split(":")[0]) == (1, "cannot verify")
    code, said = await run("--policy", tmp_path / "policy")
    assert (code, "--anchor-vkey-file" in said) == (1, True)


async def test_the_operators_own_commands_take_the_policy_along_and_check(
    bench, anchor, witnesses, database, tmp_path
):
    await anchored_log(bench, witnesses)
    give_audit_key(bench.superuser, bench.log.tenant_id)
    list_of_ours = tmp_path / "witnesses.policy"
    list_of_ours.write_bytes(policy_of(witnesses))
    made = settings_of(bench, database, tmp_path, witness_policy=str(list_of_ours))
    words = ["export", "--tenant", bench.log.tenant_id, "--why", "court", "--out"]
    async with audit_door(tmp_path / "audit.sock"):
        done = await invoke(*words, tmp_path / "p", settings=made)
    assert done.exit_code == 0, done.output
    (tmp_path / "keys").write_text(anchor.vkey)
    opened = await invoke(
        "open", "--package", tmp_path / "p", "--vkey-file", bench.directory / "vkey",
        "--anchor-vkey-file", tmp_path / "keys", "--policy", tmp_path / "p/policy", settings=made,
    )  # fmt: skip
    assert (opened.exit_code, "first 3 records" in opened.output) == (0, True), opened.output
    list_of_ours.unlink()
    async with audit_door(tmp_path / "audit.sock"):
        again = await invoke(*words, tmp_path / "q", settings=made)
    assert again.exit_code == 0, again.output
    assert (tmp_path / "q/anchor/proof").exists()
    assert not (tmp_path / "q/policy").exists()
