"""The role tuning: nothing unless switched on, and what is switched off is undone."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.unit.ansible.rendering import Installation
from tests.unit.ansible.tree import ANSIBLE, INVENTORIES, defaults

ROLE = "tuning"
PLACE = ANSIBLE / "roles" / ROLE
ON = {
    "tuning_enabled": True,
    "tuning_huge_pages": "never",
    "tuning_accept_queue": 8192,
    "tuning_interrupt_cpus": {"eth0": "0-1"},
    "tuning_unit_cpus": {"portcullis-worker@0": "2"},
    "tuning_isolated_cpus": "2-3",
}
WANTED = ("values", "interrupts", "units", "isolation")


def load() -> ModuleType:
    """The program as hosts have it."""
    spec = importlib.util.spec_from_file_location("tuning", PLACE / "files/portcullis_tuning.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tuning = load()
PAGES = "sys/kernel/mm/transparent_hugepage/enabled"
QUEUE = "proc/sys/net/core/somaxconn"
SETTINGS = {"values": {f"/{PAGES}": "never", f"/{QUEUE}": "8192"}, "interrupts": {"eth0": "0-1"}}
BEFORE = {
    PAGES: "always [madvise] never\n", QUEUE: "4096\n",
    "proc/irq/41/smp_affinity_list": "0-7\n", "proc/irq/42/smp_affinity_list": "3\n",
}  # fmt: skip


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """The kernel's files, as files."""
    root = tmp_path / "kernel"
    for name, text in BEFORE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for number in (41, 42):
        (root / f"sys/class/net/eth0/device/msi_irqs/{number}").mkdir(parents=True)
    return root


def found(root: Path) -> dict[str, str]:
    return {name: tuning.current(root / name) for name in BEFORE}


def run(kernel: Path, what: str, settings: dict[str, Any] = SETTINGS) -> None:
    file, kept = kernel.parent / "settings.json", kernel.parent / "kept.json"
    file.write_text(json.dumps(settings))
    tuning.main(what, *([str(kept)] if what == "undo" else [str(file), str(kept)]), root=kernel)


def test_what_was_applied_is_undone_to_what_was_there(kernel: Path) -> None:
    before = found(kernel)
    run(kernel, "apply")
    assert set(found(kernel).values()) == {"never", "8192", "0-1"}
    run(kernel, "undo")
    assert found(kernel) == before == {**before, PAGES: "madvise", QUEUE: "4096"}


def test_where_one_file_is_missing_none_is_written(kernel: Path) -> None:
    before = found(kernel)
    more = {**SETTINGS, "values": {**SETTINGS["values"], "/proc/sys/net/none": "1"}}
    with pytest.raises(SystemExit, match=r"this kernel has no .*/proc/sys/net/none"):
        run(kernel, "apply", more)
    assert found(kernel) == before
    with pytest.raises(SystemExit, match="wifi0 has no interrupts"):
        run(kernel, "apply", {"values": {}, "interrupts": {"wifi0": "1"}})


def test_a_card_that_is_gone_does_not_keep_the_rest_from_being_undone(kernel: Path) -> None:
    run(kernel, "apply")
    (kernel / "proc/irq/41/smp_affinity_list").unlink()
    run(kernel, "undo")
    assert tuning.current(kernel / QUEUE) == "4096"


def test_it_tells_what_is_and_what_should_be(
    kernel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(kernel, "show")
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"file": str(kernel / QUEUE), "is": "4096", "should": "8192"} in told
    assert len(told) == len(BEFORE)


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_nothing_is_wanted_unless_somebody_switched_it_on(inventory: str) -> None:
    house = Installation(inventory)
    host = house.hosts[0]
    off = {**ON, "tuning_enabled": False}
    for name in WANTED:
        assert not house.value(ROLE, f"tuning_wanted_{name}", host), name
        assert not house.value(ROLE, f"tuning_wanted_{name}", host, **off), name
        assert house.value(ROLE, f"tuning_wanted_{name}", host, **ON), name
    assert not any(defaults(ROLE).values())


def test_only_what_is_switched_on_is_written_to_the_kernel() -> None:
    values = Installation("one").value(ROLE, "tuning_wanted_values", "gw1", **ON)
    assert {name: str(value) for name, value in values.items()} == SETTINGS["values"]


@pytest.mark.parametrize("enabled", [False, True])
def test_postgresql_and_redis_have_what_they_are_given_while_it_is_on(enabled: bool) -> None:
    house = Installation("three")
    more: dict[str, Any] = {
        "tuning_enabled": enabled,
        "tuning_postgresql_parameters": {"commit_delay": 20},
        "tuning_redis_parameters": {"hz": 100},
    }
    parameters = house.value("postgresql", "postgresql_parameters", "gw1", **more)
    assert ("commit_delay" in parameters) == enabled
    redis = ANSIBLE / "roles/redis/templates/portcullis.conf.j2"
    text = house.render("redis", redis, "gw1", redis_keeper_password="of a vault", **more)
    assert ("\nhz 100\n" in text) == enabled


def stale(found: dict[str, Any]) -> dict[str, Any]:
    """What the role postgresql would send to Patroni, whose settings are `found`."""
    (task,) = [
        one
        for one in yaml.safe_load((ANSIBLE / "roles/postgresql/tasks/shared.yml").read_text())
        if one["name"].startswith("Write")
    ]
    told = {"postgresql_shared_found": {"json": {"postgresql": {"parameters": found}}}}
    house = Installation("one")
    gone = house.value(
        "postgresql",
        task["vars"]["postgresql_shared_stale"].strip().strip("{}").strip(),
        "gw1",
        **told,
    )
    more = {**told, "postgresql_shared_stale": gone}
    wanted = task["vars"]["postgresql_shared_wanted"].strip().strip("{}").strip()
    return house.value("postgresql", wanted, "gw1", **more)["postgresql"]["parameters"]


def test_a_parameter_that_is_switched_off_is_taken_out_of_patronis_settings() -> None:
    """Patroni removes what is null (its PATCH /config)."""
    sent = stale({"commit_delay": "20", "jit": "off"})
    assert sent["commit_delay"] is None
    assert sent["jit"] == "off"
    assert "commit_delay" not in stale({"jit": "off"})


def test_the_unit_that_applies_is_exposed_no_more_than_it_may_be(tmp_path: Path) -> None:
    text = Installation("one").render(ROLE, PLACE / "templates/tuning.service.j2", "gw1", **ON)
    directory = tmp_path / "etc/systemd/system"
    directory.mkdir(parents=True)
    (directory / "latency-tuning.service").write_text(text)
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--root={tmp_path}",
         "latency-tuning.service"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    (level,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert float(level) <= 1.5
