"""Plays against the lab: an inventory from one of ours, and ansible-playbook from inside the lab's wire."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ops.initialise import PAPER_INSTRUMENTS
from ops.toml import dumps
from ops.trial.customer import API_RATES
from ops.trial.exchange import broker_settings
from tests.hosts import exchange
from tests.hosts.bundle import Bundle
from tests.hosts.host import Host
from tests.hosts.image import ACCOUNT
from tests.hosts.network import CLIENT, CONTROLLER, PREFIX, VIP, Network, within

ANSIBLE = Path(__file__).parents[2] / "ansible"
PLAY_S, COMMAND_S = 1200, 60
HOOKS_URL, ADMIN_URL = f"https://{VIP}", f"https://{VIP}:8443"
RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.M)
TASK = re.compile(r"^TASK \[(.+?)\]|^(changed|fatal|failed): \[(\S+?)\]", re.M)


class Played(NamedTuple):
    """What one play said and did."""

    status: int
    text: str

    @property
    def worked(self) -> bool:
        return self.status == 0 and bool(RECAP.search(self.text))

    @property
    def changed(self) -> list[str]:
        """`host: task` of each change, so that a failing test names what is not idempotent."""
        found, task = [], ""
        for match in TASK.finditer(self.text):
            task = match[1] or task
            if match[2] == "changed":
                found.append(f"{match[3]}: {task}")
        return found

    @property
    def end(self) -> str:
        return self.text[-6000:]


class Controller:
    """Where plays run: the lab's wire, with a key of this run's own. The machine's ~/.ssh is not read."""

    def __init__(self, directory: Path, wire: Network, patience: float) -> None:
        """`patience`: how many times as long as containers its hosts may take (host.py)."""
        self._directory = directory
        self._wire = wire
        self._patience = patience
        self.key = directory / "key"
        self.inventory = directory / "inventory"
        self._plays = 0

    def make_key(self) -> str:
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(self.key)]
        subprocess.run(command, check=True)
        return self.key.with_suffix(".pub").read_text()

    def write_inventory(self, source: str, hosts: list[Host], bundle: Bundle) -> None:
        """A copy of one of our inventories, with this lab's addresses, key, known hosts and bundle."""
        shutil.copytree(ANSIBLE / "inventories" / source, self.inventory)  # follows links
        known = self.know(hosts)
        path = self.inventory / "hosts.yml"
        tree = yaml.safe_load(path.read_text())
        address = {host.name: host.address for host in hosts}
        for name, variables in _hosts_in(tree):
            if "ansible_host" in variables:
                variables["ansible_host"] = address[name]
        path.write_text(yaml.safe_dump(tree))
        # The name sorts after the inventory's own files, and so wins over them.
        lab = self.inventory / "group_vars/all/zz_lab.yml"
        lab.touch(mode=0o600)
        lab.write_text(
            yaml.safe_dump(self._variables(known, hosts[0].interface) | _product(bundle))
        )

    def know(self, hosts: list[Host]) -> Path:
        """By which keys they show that they are the hosts."""
        known = self._directory / "known_hosts"
        known.write_text("".join(f"{h.address} {key}\n" for h in hosts for key in h.host_keys()))
        return known

    @property
    def authority(self) -> Path:
        """Whose word on the VIP's certificate clients take."""
        return self.inventory / "pki" / "front" / "authority.pem"

    def _variables(self, known: Path, interface: str) -> dict[str, Any]:
        wire = f"{CONTROLLER.rpartition('.')[0]}.0/{PREFIX}"
        return {
            "ansible_user": ACCOUNT,
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={known} -o IdentitiesOnly=yes",
            "portcullis_interface": interface,
            "portcullis_vip": VIP,
            "clock_servers": [{"address": CLIENT}],
            "portcullis_controller_networks": [f"{CONTROLLER}/32"],
            "portcullis_admin_networks": [wire],
            "portcullis_administrators": [
                {"name": ACCOUNT, "keys": [self.key.with_suffix(".pub").read_text().strip()]}
            ],
        }

    def play(self, playbook: str | Path, *more: str) -> Played:
        """Run ansible/playbooks/NAME.yml, or the test's own, a path. The words stay in a file.

        `more` goes to ansible-playbook.
        """
        program = shutil.which("ansible-playbook")
        if program is None:
            raise RuntimeError("ansible-playbook is missing: it is in requirements/hosts.lock")
        self._plays += 1
        book = Path(f"playbooks/{playbook}.yml") if isinstance(playbook, str) else playbook
        log = self._directory / f"play-{self._plays}-{book.stem}.log"
        words = [program, "-i", str(self.inventory), str(book), *more]
        with log.open("w") as out:
            done = subprocess.run(
                within(self._wire.wire, *words),
                cwd=ANSIBLE,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=PLAY_S * self._patience,
                check=False,
            )
        return Played(done.returncode, log.read_text())

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self._directory),
            "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"),
            "ANSIBLE_HOME": str(self._directory / "ansible"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self._directory / "cp"),
            "ANSIBLE_FORCE_COLOR": "false",
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.profile_tasks",
        }

    def ssh(self, host: Host, command: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        """One shell command on a host, as the administrator; `sudo` is the caller's word."""
        return subprocess.run(
            self._ssh(host, command), input=typed,
            capture_output=True, text=True, check=False, timeout=COMMAND_S * self._patience,
        )  # fmt: skip

    def _ssh(self, host: Host, command: str, *options: str) -> list[str]:
        words = [
            "ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", *options,
            "-o", f"UserKnownHostsFile={self._directory / 'known_hosts'}",
            "-i", str(self.key), f"{ACCOUNT}@{host.address}", command,
        ]  # fmt: skip
        return within(self._wire.wire, *words)

    def said(self, host: Host, command: str) -> str:
        """What it prints. Raises AssertionError with its words where it fails."""
        done = self.ssh(host, command)
        assert done.returncode == 0, f"{host.name}: {command}: {done.stderr}"
        return done.stdout

    def put(self, host: Host, path: str, text: str) -> None:
        """A file of root's on a host. Raises AssertionError."""
        done = self.ssh(host, f"sudo tee {path} >/dev/null", typed=text)
        assert done.returncode == 0, f"{host.name}: {path}: {done.stderr}"

    def typed(self, host: Host, command: str, answers: dict[str, str]) -> None:
        """At a terminal: what is typed when a question is on the screen. Raises AssertionError."""
        with subprocess.Popen(
            self._ssh(host, command, "-tt"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as terminal:
            assert terminal.stdin is not None
            assert terminal.stdout is not None
            screen = b""
            for question, answer in answers.items():
                while question.encode() not in screen:
                    seen = os.read(terminal.stdout.fileno(), 4096)
                    assert seen, f"{host.name}: {command}: {screen.decode()}"
                    screen += seen
                terminal.stdin.write(f"{answer}\n".encode())
                terminal.stdin.flush()
            screen += terminal.stdout.read()
        assert terminal.returncode == 0, f"{host.name}: {command}: {screen.decode()}"

    def fetch(self, host: Host, path: str) -> bytes:
        """What lies there, owners and modes included, to be given to a host again. Raises CalledProcessError."""
        words = self._ssh(host, f"sudo tar --create --directory=/ {path.lstrip('/')}")
        return subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout

    def give(self, host: Host, archive: bytes) -> None:
        """Put it where it was. Raises CalledProcessError."""
        words = self._ssh(host, "sudo tar --extract --same-owner --directory=/")
        subprocess.run(words, input=archive, check=True)

    def close(self) -> None:
        """End the ssh connections that Ansible keeps open between plays, each by its own socket."""
        for socket in sorted((self._directory / "cp").glob("*")):
            words = ["ssh", "-F", "none", "-o", f"ControlPath={socket}", "-O", "exit", "any"]
            subprocess.run(words, capture_output=True, check=False, timeout=10)


def _product(bundle: Bundle) -> dict[str, Any]:
    """What is installed, from where alone, its brokers, and this run's own secrets. A test reads what became
    of thousands of signals."""
    brokers = {
        "gateio": broker_settings(exchange.URL),
        "paper": {"instruments": PAPER_INSTRUMENTS},
    }
    return {
        "portcullis_bundle": str(bundle.archive),
        "portcullis_bundle_signers": str(bundle.signers),
        "portcullis_offline": True,
        "portcullis_hooks_url": HOOKS_URL,
        "portcullis_admin_url": ADMIN_URL,
        "portcullis_more_settings": dumps({"brokers": brokers, "admin": {"rates": API_RATES}}),
        "pki_passphrase": secrets.token_hex(16),
        "redis_keeper_password": secrets.token_hex(16),
    }


def _hosts_in(tree: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every (name, variables) of an inventory in YAML, wherever its groups nest."""
    for group in tree.values():
        for name, variables in ((group or {}).get("hosts") or {}).items():
            yield name, variables or {}
        yield from _hosts_in((group or {}).get("children") or {})
