"""The playbooks that change a running installation: in which order, and what they refuse, in which words."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.bundle.contents import sum_of
from tests import bundles
from tests.unit.ansible.playing import inventory, played, program
from tests.unit.ansible.tree import ANSIBLE, read

PLAYBOOKS = ANSIBLE / "playbooks"
CHANGING = ["upgrade", "roll", "rollback", "failover-drill", "rotate-keys"]
Play = dict[str, Any]


def plays(name: str) -> list[Play]:
    """A playbook's plays, and those of the playbooks that it imports, in their order."""
    found = []
    for play in read(PLAYBOOKS / f"{name}.yml"):
        imported = play.get("ansible.builtin.import_playbook")
        found += [play] if imported is None else plays(imported.removesuffix(".yml"))
    return found


def steps(play: Play) -> Iterator[dict[str, Any]]:
    """Tasks, roles and blocks' tasks of a play, in the order in which they run."""
    for part in ("pre_tasks", "roles", "tasks", "post_tasks"):
        for task in play.get(part, []):
            yield from steps({"tasks": task["block"]}) if "block" in task else [task]


def said(play: Play) -> list[str]:
    """What each step is, in short: `ROLE/TASKS`, a file of tasks, or the name of the task."""
    found = []
    for step in steps(play):
        role = step.get("ansible.builtin.include_role")
        tasks = step.get("ansible.builtin.import_tasks")
        if role is not None:
            found.append(f"{role['name']}/{role.get('tasks_from', 'main')}")
        else:
            found.append(step.get("role") or tasks or step["name"])
    return found


def all_said(name: str) -> list[str]:
    return [one for play in plays(name) for one in said(play)]


def in_order(whole: list[str], *wanted: str) -> None:
    places = [whole.index(one) for one in wanted]
    assert places == sorted(places), list(zip(wanted, places, strict=True))


def test_every_playbook_can_be_read_by_ansible(tmp_path: Path) -> None:
    """Names of modules, roles and files of tasks, where these stand outright."""
    first, *others = sorted(PLAYBOOKS.glob("*.yml"))
    source = inventory(tmp_path, "three")
    done = played(tmp_path, first, source, *map(str, others), "--syntax-check")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("playbook: ") == len(others) + 1


# ---------------------------------------------------------------- order


@pytest.mark.parametrize("name", CHANGING)
def test_what_fails_on_one_host_goes_on_on_none(name: str) -> None:
    own = [
        play for play in plays(name) if play["name"] != "Verify"
    ]  # it asks everybody, whatever it finds
    assert own
    for play in own:
        assert play["any_errors_fatal"] is True, play["name"]


@pytest.mark.parametrize("name", ["upgrade", "rotate-keys", "failover-drill"])
def test_everything_is_asked_whether_it_is_well_before_and_after(name: str) -> None:
    own = [play for play in plays(name) if play["name"] != "Verify"]
    assert set(said(own[0])) & {"tasks/begin.yml", "tasks/healthy.yml"}
    assert "tasks/healthy.yml" in said(own[-1])
    assert own[0]["hosts"] == own[-1]["hosts"] == "all"


def test_an_upgrade_adds_to_the_schema_before_the_first_host_and_takes_away_after_the_last() -> (
    None
):
    in_order(
        all_said("upgrade"), "tasks/begin.yml", "bundle/main",
        "Refuse to take anything away while an older release is current somewhere", "backup/young",
        "portcullis/beside", "portcullis/preflight", "portcullis/expand", "portcullis/stop", "portcullis",
        "Contract",
    )  # fmt: skip


def test_what_takes_away_is_run_by_that_word_alone() -> None:
    tasks = [
        step for name in ("upgrade", "rollback") for play in plays(name) for step in steps(play)
    ]
    tasks += [
        step for file in (ANSIBLE / "roles/portcullis/tasks").glob("*.yml") for step in read(file)
    ]
    said = [(task, str(task.get("ansible.builtin.command", ""))) for task in tasks]
    migrating = [(task, command) for task, command in said if " migrate " in command]
    assert len(migrating) == 4, "expand, served, which wait, contract"
    for task, command in migrating:
        if "--check" not in command and "--expand" not in command:
            assert task["when"] == "contract | default(false) | bool"


def test_one_host_after_the_other_and_the_next_when_this_one_does_its_work() -> None:
    (roll,) = plays("roll")
    assert roll["serial"] == 1
    in_order(
        said(roll), "tasks/leave.yml", "portcullis/stop", "worm_store", "portcullis",
        "Have the archive run on this release", "Let this host carry the VIP again", "tasks/healthy.yml",
    )  # fmt: skip
    assert said(roll)[-1] == "tasks/healthy.yml"
    leave = [step["name"] for step in read(PLAYBOOKS / "tasks/leave.yml")]
    assert leave == ["Say that this host is being changed", "Give the VIP away"]
    assert read(PLAYBOOKS / "tasks/healthy.yml")[-1]["name"] == "Forget that it was being changed"


def test_the_way_in_is_closed_before_the_processes_end() -> None:
    """An open socket of systemd's would start them again, of whichever release is current by then."""
    sockets, services = read(ANSIBLE / "roles/portcullis/tasks/stop.yml")
    assert sockets["ansible.builtin.systemd_service"]["name"].endswith(".socket")
    assert services["loop"] == "{{ portcullis_services | reverse }}"


def test_nothing_is_sealed_under_a_key_that_other_hosts_do_not_have() -> None:
    in_order(
        all_said("rotate-keys"), "hsm_client/due", "tasks/leave.yml", "Stop the management listener",
        "hsm_client/rotate", "Open the management listener again",
    )  # fmt: skip
    ceremony = all_said("rotate-keys")
    rotated = ceremony.index("hsm_client/rotate")
    assert ceremony[rotated + 1] == "hsm_client/copies"
    assert "hsm_client/copies" in ceremony[:rotated]


def test_a_drill_moves_one_thing_after_the_other_each_under_watch() -> None:
    whole = [one for one in all_said("failover-drill") if "watch" in one or "/" in one]
    moves = [
        whole.index(one) for one in ("postgresql/switchover", "redis/failover", "keepalived/yield")
    ]
    watches = [at for at, one in enumerate(whole) if one == "tasks/watch.yml"]
    watched = [at for at, one in enumerate(whole) if one == "tasks/watched.yml"]
    assert all(a < b < c for a, b, c in zip(watches, moves, watched, strict=True))
    assert plays("failover-drill")[-1]["name"] == "Verify"


# ---------------------------------------------------------------- refusals


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A bundle for the Debian of this machine, and where each host keeps it (all of them here, at once)."""
    suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
    monkeypatch.setitem(bundles.MANIFEST, "suite", suite)
    release = bundles.key(tmp_path)
    root = bundles.bundle(tmp_path / "bundle", release)
    return {
        "portcullis_bundle": bundles.packed(root),
        "portcullis_bundle_signers": bundles.signers(release),
        "bundle_places": f"{tmp_path}/{{{{ inventory_hostname }}}}/bundles",
        "portcullis_healthy": [],
        "portcullis_changing": tmp_path / "changing",
        "facts": True,
    }


def bundle_id(given: dict[str, Any]) -> str:
    return f"9.9.9-{sum_of(given['portcullis_bundle'].parent / 'bundle/SHA256SUMS')[:12]}"


def refused(tmp_path: Path, name: str, source: Path, *words: str, **given: Any) -> str:
    """What the playbook says when it ends, in one line."""
    done = played(tmp_path, PLAYBOOKS / f"{name}.yml", source, *words, **given)
    assert done.returncode != 0, done.stdout
    assert done.stdout, done.stderr
    return " ".join(done.stdout.split())


def test_a_drill_needs_somebody_who_takes_over(tmp_path: Path) -> None:
    said = refused(tmp_path, "failover-drill", inventory(tmp_path, "one"))
    assert (
        "A drill needs two hosts in portcullis_data and in portcullis_app, and portcullis_vip"
        in said
    )
    assert "here are 1, 1 and ''" in said


def test_nothing_is_taken_away_while_an_older_release_is_current_somewhere(
    tmp_path: Path, bundle: dict[str, Any]
) -> None:
    source = inventory(tmp_path, "three", portcullis_prefix=f"{tmp_path}/HOST")
    for host in ("gw1", "gw2", "gw3"):
        older = (
            tmp_path / host / "releases" / ("0.0.1-older" if host == "gw2" else bundle_id(bundle))
        )
        older.mkdir(parents=True)
        (tmp_path / host / "current").symlink_to(older)
    said = refused(tmp_path, "upgrade", source, **bundle, contract=True)
    assert f"gw2: another release than {bundle_id(bundle)} is current there" in said
    assert "TASK [Expand]" not in said


def test_site_brings_no_other_release_for_it_would_restart_all_at_once(
    tmp_path: Path, bundle: dict[str, Any]
) -> None:
    source = inventory(tmp_path, "three", portcullis_prefix=f"{tmp_path}/HOST")
    for host, release in (("gw1", bundle_id(bundle)), ("gw2", "0.0.1-older")):
        (tmp_path / host / "releases" / release).mkdir(parents=True)
        (tmp_path / host / "current").symlink_to(tmp_path / host / "releases" / release)
    said = refused(tmp_path, "site_app", source, **bundle)
    assert f"gw2 runs 0.0.1-older, and the bundle is {bundle_id(bundle)}" in said
    assert "TASK [haproxy" not in said


def test_there_is_no_way_back_to_where_a_host_never_was(
    tmp_path: Path, bundle: dict[str, Any]
) -> None:
    source = inventory(tmp_path, "one", portcullis_prefix=f"{tmp_path}/HOST")
    said = refused(tmp_path, "rollback", source, **bundle)
    assert f"{bundle_id(bundle)} was never installed on gw1" in said


def test_there_is_no_way_back_over_a_contract_and_which_one_is_said(
    tmp_path: Path, bundle: dict[str, Any]
) -> None:
    source = inventory(tmp_path, "one", portcullis_prefix=f"{tmp_path}/HOST")
    why = (
        "0035_less took away what this release (schema 0034) uses: it is too old for this database"
    )
    older = tmp_path / "gw1/releases" / bundle_id(bundle) / "bin/portcullis"
    program(older, f'echo "$*" >> {tmp_path}/asked; echo "{why}" >&2; exit 2')
    said = refused(
        tmp_path, "rollback", source, **bundle, portcullis_group="root",
        portcullis_settings=tmp_path / "portcullis.toml",
    )  # fmt: skip
    assert f"There is no way back to {bundle_id(bundle)}: {why}" in said
    (asked,) = (tmp_path / "asked").read_text().splitlines()
    assert asked.endswith("portcullis.toml.coming migrate --check")
    assert not list(tmp_path.glob("portcullis.toml*"))


def test_keys_are_rotated_only_where_they_are_known(tmp_path: Path) -> None:
    calendar = [
        {"kind": "enrol", "tenant_id": "7", "version": 1, "label": "enrol", "state": "current"}
    ]
    program(tmp_path / "bin/asked", f"echo '{json.dumps(calendar)}'")
    said = refused(
        tmp_path, "rotate-keys", inventory(tmp_path, "three"), keys_wanted="enrol/v9",
        portcullis_command=str(tmp_path / "bin/asked"), portcullis_healthy=[],
        portcullis_changing=tmp_path / "changing",
    )  # fmt: skip
    assert "no key is called enrol/v9; the current ones are enrol" in said
    assert not (tmp_path / "changing").exists()


def one_task(tmp_path: Path, role: str, tasks: str, **variables: str) -> Path:
    """A play of one file of a role's tasks, on the first host."""
    book = tmp_path / "play.yml"
    include = {"name": role, "tasks_from": tasks}
    task = {"name": "It", "ansible.builtin.include_role": include, "vars": variables}
    book.write_text(yaml.safe_dump([{"hosts": "gw1", "gather_facts": False, "tasks": [task]}]))
    return book


@pytest.mark.parametrize(
    ("hours", "said"), [(None, "there is no base backup"), (50, "50 h ago: 26 h are allowed")]
)
def test_an_upgrade_begins_with_a_young_backup(
    tmp_path: Path, hours: int | None, said: str
) -> None:
    ended = datetime.now(UTC) - timedelta(hours=hours or 0)
    there = [] if hours is None else [{"ended_at": ended.isoformat()}]
    command = program(tmp_path / "bin/asked", f"echo '{json.dumps(there)}'")
    done = played(
        tmp_path, one_task(tmp_path, "backup", "young"), inventory(tmp_path, "one"),
        portcullis_command=command,
    )  # fmt: skip
    assert done.returncode != 0
    assert said in done.stdout
    assert "systemctl start portcullis-backup.service" in done.stdout


def test_a_release_that_would_not_start_is_refused_with_its_own_words(tmp_path: Path) -> None:
    findings = [
        {"check": "schema", "problem": "old"},
        {"check": "disk space", "problem": "12 MiB free"},
    ]
    program(tmp_path / "9/bin/portcullis", f"echo '{json.dumps(findings)}'; exit 1")
    told = {"portcullis_release": str(tmp_path / "9"), "portcullis_forgiven": ["schema"]}
    done = played(
        tmp_path, one_task(tmp_path, "portcullis", "preflight", **told), inventory(tmp_path, "one"),
        portcullis_settings=tmp_path / "portcullis.toml", portcullis_group="root",
    )  # fmt: skip
    assert done.returncode != 0
    assert (
        "9 would not start on gw1: disk space: 12 MiB free. Nothing was changed here."
        in done.stdout
    )
    assert not list(tmp_path.glob("portcullis.toml*"))


def test_a_vip_is_one_hosts(tmp_path: Path) -> None:
    program(tmp_path / "bin/systemctl", "echo active")
    program(tmp_path / "bin/ip", "echo '2: eth0 inet 192.0.2.10/32'")
    done = played(
        tmp_path, one_task(tmp_path, "keepalived", "healthy"), inventory(tmp_path, "three")
    )
    assert done.returncode != 0
    assert "192.0.2.10 should be one host's and is 3'" in done.stdout


# ---------------------------------------------------------------- a whole run

# One systemd for all three: what changes nothing is not told, and of several at once one changes it.
SYSTEMCTL = """
for last; do :; done
case "$1" in
show) echo "LoadState=loaded"; [ -e "STATE/$last" ] && echo "ActiveState=inactive" || echo "ActiveState=active";;
stop) mkdir "STATE/$last" 2>/dev/null && echo "systemctl $*" >> LOG || true;;
start) rmdir "STATE/$last" 2>/dev/null && echo "systemctl $*" >> LOG || true;;
esac
"""
IP = """
case "$*" in
*"address show to"*) [ -e STATE/asked ] || echo "2: eth0 inet 192.0.2.10/32"; touch STATE/asked;;
esac
"""
PRODUCT = """
echo "portcullis $*" >> LOG
case "$*" in
"hsm status --json") echo '{"tokens": [{"label": "portcullis-sign", "serial": "1"}]}';;
"hsm calendar --json") echo 'CALENDAR';;
esac
"""


@pytest.mark.longer
def test_a_key_is_made_while_nobody_reaches_the_first_hosts_enroller_and_all_is_open_again(
    tmp_path: Path,
) -> None:
    """The whole playbook, on three hosts with programs of the test's: what is called, in which order."""
    state, log = tmp_path / "state", tmp_path / "log"
    state.mkdir()
    due = (datetime.now(UTC) + timedelta(days=5)).isoformat()
    calendar = [
        {"kind": "enrol", "tenant_id": "7", "version": 1, "label": "enrol", "state": "current", "due_at": due}
    ]  # fmt: skip

    def fake(name: str, text: str) -> Path:
        told = {"LOG": str(log), "STATE": str(state), "CALENDAR": json.dumps(calendar)}
        for word, value in told.items():
            text = text.replace(word, value)
        return program(tmp_path / "bin" / name, text)

    fake("systemctl", SYSTEMCTL)
    # The first of the others that is asked has the VIP.
    fake("ip", IP)
    product = fake("product", PRODUCT)
    for host in ("gw1", "gw2", "gw3"):
        (tmp_path / host / "tokens").mkdir(parents=True)
        for pin in ("sign.pin", "enrol.pin"):
            (tmp_path / host / pin).write_text("1")
    source = inventory(
        tmp_path, "three", portcullis_changing=f"{tmp_path}/HOST/changing",
        hsm_client_tokens=f"{tmp_path}/HOST/tokens", hsm_client_credentials=f"{tmp_path}/HOST",
    )  # fmt: skip
    done = played(
        tmp_path, PLAYBOOKS / "rotate-keys.yml", source, portcullis_command=product, portcullis_healthy=[]
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    called = [line for line in log.read_text().splitlines() if "show" not in line]
    assert [line for line in called if "hsm status" not in line] == [
        "portcullis hsm calendar --json",
        "systemctl stop keepalived",
        "systemctl stop portcullis-admin.socket",
        "portcullis hsm rotate enrol-key",
        "portcullis hsm check",
        "systemctl start portcullis-admin.socket",
        "systemctl start keepalived",
    ]
    # Tokens were compared again, on every host, before it was opened.
    between = called[
        called.index("portcullis hsm check") : called.index("systemctl start keepalived")
    ]
    assert sum("hsm status" in line for line in between) == 4
    assert not list(tmp_path.glob("gw*/changing"))
