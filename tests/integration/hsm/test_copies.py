"""The role hsm_client on real tokens: a second host has the first one's keys, and nobody's are lost."""

from __future__ import annotations

import importlib.util
import shlex
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID, uuid4

import pytest
import yaml

from hsm import ceremony
from hsm.check import check
from hsm.inventory import token_facts
from tests.fixtures.softhsm import token_settings

ANSIBLE = Path(__file__).parents[3] / "ansible"
TENANT = UUID(int=7)


def filters() -> ModuleType:
    """As Ansible loads it: by its path."""
    path = ANSIBLE / "plugins" / "filter" / "tokens.py"
    spec = importlib.util.spec_from_file_location("tokens", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tasks() -> dict[str, Any]:
    """The role's tasks by what they do with the shell."""
    found = yaml.safe_load((ANSIBLE / "roles/hsm_client/tasks/tokens.yml").read_text())
    (block,) = (one["block"] for one in found if "block" in one)
    read, write = (one["ansible.builtin.shell"]["cmd"] for one in block)
    look = next(one for one in found if "sha256sum" in str(one))["ansible.builtin.command"]["cmd"]
    return {"read": read, "write": write, "look": look}


class Copying:
    """Two hosts' directories of tokens, and what the role runs on each."""

    def __init__(self, first: Path, own: Path) -> None:
        self.first, self.own = first, own
        self._tasks, self._filters = tasks(), filters()

    def look(self, tokens: Path) -> str:
        words = shlex.split(self._tasks["look"])
        return subprocess.run(words, cwd=tokens, capture_output=True, text=True, check=True).stdout

    @property
    def problems(self) -> list[str]:
        return list(self._filters.token_problems(self.look(self.first), self.look(self.own), "gw1"))

    def run(self) -> list[str]:
        """What was copied; empty where everything was there."""
        files = self._filters.token_files(self.look(self.first), self.look(self.own))
        if files:
            read = self._shell(self._tasks["read"], self.first, "\n".join(files))
            write = self._tasks["write"].replace("{{ hsm_client_tokens }}", str(self.own))
            self._shell(write, self.own.parent, read)
        return list(files)

    @staticmethod
    def _shell(command: str, directory: Path, said: str) -> str:
        words = ["/bin/bash", "-c", command]
        done = subprocess.run(
            words, cwd=directory, input=said, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def second(softhsm, tmp_path):
    """The second host: SoftHSM's configuration, the first one's PINs, no token."""
    (tmp_path / "tokens").mkdir()
    for pin in softhsm.directory.glob("*.pin"):
        (tmp_path / pin.name).write_text(pin.read_text())
        (tmp_path / pin.name).chmod(0o600)
    return token_settings(tmp_path, softhsm.settings.module)


def keys(settings: Any) -> list[tuple[str, list[str]]]:
    return [(one.serial, one.keys or []) for one in token_facts(settings, keys=True)]


@pytest.fixture
def copying(softhsm, second):
    softhsm.init(TENANT)
    for pin in softhsm.directory.glob("*.pin"):
        copy = second.softhsm_conf.parent / pin.name
        copy.write_text(pin.read_text())
        copy.chmod(0o600)
    return Copying(softhsm.directory / "tokens", second.softhsm_conf.parent / "tokens")


def test_a_second_host_finds_the_first_one_s_keys_and_a_second_run_copies_nothing(
    softhsm, second, copying
):
    assert copying.problems == []
    assert copying.run() != []
    assert keys(second) == keys(softhsm.settings)
    assert check(second) == []
    assert (copying.problems, copying.run()) == ([], [])


def test_keys_of_a_later_ceremony_are_copied_alone(softhsm, second, copying):
    copying.run()
    ceremony.create_tenant_keys(softhsm.settings, uuid4())
    assert copying.problems == []
    copied = copying.run()
    assert len([name for name in copied if name.endswith(".object")]) == 6  # three in each token
    assert not any("token.object" in name for name in copied)
    assert keys(second) == keys(softhsm.settings)


def test_a_key_that_was_made_on_the_second_host_is_not_lost(second, copying):
    copying.run()
    ceremony.create_tenant_keys(second, uuid4())
    before = keys(second)
    assert len(copying.problems) == 2
    assert "keys that gw1 has not" in copying.problems[0]
    assert keys(second) == before


def test_a_token_that_was_made_on_the_second_host_is_named_with_its_serial(second, copying):
    for pin in second.softhsm_conf.parent.glob("*.pin"):
        pin.unlink()
    ceremony.init_tokens(second)
    serials = {one.serial for one in token_facts(second, keys=False)}
    problems = copying.problems
    assert len(problems) == 2
    assert all(
        any(f"token {serial} is not one of gw1's" in one for one in problems) for serial in serials
    )


def test_a_key_that_is_not_the_first_host_s_any_more_is_named(copying):
    copying.run()
    token = next(path for path in sorted(copying.own.iterdir()))
    key = next(path for path in sorted(token.glob("*.object")) if path.name != "token.object")
    key.write_bytes(key.read_bytes()[:-1])
    assert any(f"{key.name} differs from gw1's" in one for one in copying.problems)
