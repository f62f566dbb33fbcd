"""Templates as Ansible itself renders them, for a host of an inventory, without a host."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import filter_loader, init_plugin_loader
from ansible.template import Templar, trust_as_template
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

from tests.unit.ansible.tree import ANSIBLE

FACTS = {
    "virtualization_tech_guest": [],
    "memtotal_mb": 16000,
    "processor_nproc": 8,
    "hostname": "gw1",
}
"""What `setup` says of a host, as far as a template asks. A template that asks more fails here."""

init_plugin_loader()
filter_loader.add_directory(str(ANSIBLE / "plugins" / "filter"))


class Installation:
    """One inventory, read by Ansible."""

    def __init__(self, name: str) -> None:
        self._loader = DataLoader()
        source = str(ANSIBLE / "inventories" / name)
        self._inventory = InventoryManager(self._loader, sources=[source])
        self._variables = VariableManager(self._loader, self._inventory)
        HostVars(self._inventory, self._variables, self._loader)
        self._of_host = functools.cache(self._of_host_anew)
        self.hosts = [host.name for host in self._inventory.get_hosts()]

    def render(self, role: str, template: Path, host: str, **more: Any) -> str:
        """The template with the role's defaults, the inventory's variables and `more`, in that order."""
        templar = self._templar(role, host, more).copy_with_new_env(
            searchpath=[str(template.parent)]
        )
        return templar.template(trust_as_template(template.read_text())) or ""

    def value(self, role: str, name: str, host: str, **more: Any) -> Any:
        """A variable of the role as its tasks see it on this host."""
        return self._templar(role, host, more).template(trust_as_template(f"{{{{ {name} }}}}"))

    def holds(self, role: str, condition: str, host: str, **more: Any) -> bool:
        """A `when` or `that` as Ansible takes it, which refuses one that is neither true nor false."""
        return self._templar(role, host, more).evaluate_conditional(trust_as_template(condition))

    def _templar(self, role: str, host: str, more: dict[str, Any]) -> Templar:
        place = ANSIBLE / "roles" / role
        variables = {
            **read(ANSIBLE / "roles" / "pki" / "defaults" / "main.yml"),  # its play is the first
            **read(place / "defaults" / "main.yml"),
            **self._of_host(host),
            **read(place / "vars" / "main.yml"),
            "ansible_facts": FACTS,
            **more,
        }
        return Templar(loader=self._loader, variables=variables)

    def _of_host_anew(self, host: str) -> dict[str, Any]:
        return self._variables.get_vars(host=self._inventory.get_host(host))


@functools.cache
def read(path: Path) -> dict[str, Any]:
    """A role's variables; their values are templates, because ours."""
    return DataLoader().load_from_file(str(path), trusted_as_template=True) if path.exists() else {}
