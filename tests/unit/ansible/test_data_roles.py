"""What the Ansible roles say of the product is what the product says of itself."""

from __future__ import annotations

import re

import pytest

from ops.backup.settings import APPLICATION, SLOT
from ops.settings import DatabaseSettings
from ops.stack.postgres import DATABASE, LOGIN_ROLES, SETTINGS
from tests.unit.ansible.tree import ANSIBLE, defaults

ROLES = ANSIBLE / "roles"
BY_HOST = {"listen_addresses", "unix_socket_permissions", "max_connections", "shared_buffers"}
"""Settings that a host of its own has otherwise than a machine that runs everything."""


def test_postgresql_has_the_roles_that_the_product_logs_in_as() -> None:
    assert tuple(defaults("postgresql")["postgresql_login_roles"]) == LOGIN_ROLES
    assert defaults("postgresql")["postgresql_database"] == DATABASE


def test_postgresql_runs_with_the_settings_that_the_product_is_tested_with() -> None:
    wanted = {name: value for name, value in SETTINGS.items() if name not in BY_HOST}
    given = defaults("postgresql")["postgresql_product_parameters"]
    assert {name: str(value) for name, value in given.items()} == wanted


def test_patroni_keeps_the_slot_of_the_archive_under_the_name_that_the_archive_uses() -> None:
    assert defaults("postgresql")["postgresql_archive_name"] == APPLICATION == SLOT


def test_pgbouncer_has_a_way_in_for_every_connection_that_the_settings_name() -> None:
    ways = {one["name"]: one["role"] for one in defaults("pgbouncer")["pgbouncer_clients"]}
    wanted = set(DatabaseSettings.__struct_fields__) - {"pool_size"}
    assert ways == {name: f"portcullis_{name}" for name in wanted}


def test_nobody_comes_in_at_pgbouncer_as_two_database_roles() -> None:
    users = [user for one in defaults("pgbouncer")["pgbouncer_clients"] for user in one["users"]]
    assert sorted(users) == sorted(set(users))


def test_pgbouncer_and_postgresql_name_the_same_certificate() -> None:
    shown = defaults("pgbouncer")["pgbouncer_common_name"]
    assert shown == defaults("postgresql")["postgresql_client_common_name"]


def test_the_default_pools_of_three_hosts_fit_into_postgresql() -> None:
    pgbouncer = defaults("pgbouncer")
    wanted = 3 * sum(one["sessions"] for one in pgbouncer["pgbouncer_clients"])
    had = defaults("postgresql")["postgresql_max_connections"]
    assert wanted + pgbouncer["pgbouncer_server_sessions_kept"] <= had


def test_operators_find_a_session_while_the_management_listener_holds_all_of_its() -> None:
    """Its pool and four beside it, seen on a host; `install` asks by two at once."""
    sessions = {one["name"]: one["sessions"] for one in defaults("pgbouncer")["pgbouncer_clients"]}
    assert sessions["admin"] >= defaults("portcullis")["portcullis_database_pool"] + 4 + 4


def test_a_request_is_tried_again_only_where_it_never_reached_a_process() -> None:
    """Anything more in `retry-on` could send a POST twice."""
    lines = (ROLES / "haproxy" / "templates" / "haproxy.cfg.j2").read_text().splitlines()
    assert [line.strip() for line in lines if "retry-on" in line] == ["retry-on conn-failure"]


def test_the_proxy_says_nothing_was_done_only_where_that_is_known() -> None:
    """502 and 504: a process had the request. 503 of HAProxy: no connection to one was made."""
    text = (ROLES / "haproxy" / "templates" / "haproxy.cfg.j2").read_text()
    for status, code in ((502, "outcome_unknown"), (503, "unavailable"), (504, "outcome_unknown")):
        assert f"({status}, '{code}'" in text


def test_the_proxy_logs_no_path_for_a_path_may_hold_a_sender_s_token() -> None:
    text = (ROLES / "haproxy" / "templates" / "haproxy.cfg.j2").read_text()
    formats = [line for line in text.splitlines() if line.strip().startswith("log-format")]
    assert len(formats) == 1
    assert not [
        word
        for word in ("%r", "%HP", "%HU", "%HQ", "path", "url")
        if word + " " in formats[0] + " "
    ]
    assert "httplog" not in text


def test_pgbouncer_never_drops_a_limit_that_a_process_asked_for() -> None:
    text = (ROLES / "pgbouncer" / "templates" / "pgbouncer.ini.j2").read_text()
    assert "ignore_startup_parameters" not in text
    assert "pool_mode = session" in text
    assert "query_timeout = 0" in text


def template(role: str, name: str) -> str:
    return (ROLES / role / "templates" / name).read_text()


def test_the_proxy_has_no_regular_expression_for_it_may_not_compile_one() -> None:
    """PCRE compiles to memory that is written and then executed; `haproxy -c` outside its unit does not see it."""
    assert "MemoryDenyWriteExecute=yes" in template("haproxy", "unit.conf.j2")
    words = re.findall(
        r"\brstatus\b|\brstring\b|\bregsub\b|_reg\b|-m reg\b", template("haproxy", "haproxy.cfg.j2")
    )
    assert words == []


@pytest.mark.parametrize(
    ("role", "file", "gives"),
    [("haproxy", "haproxy.cfg.j2", " group {{"), ("pgbouncer", "pgbouncer.ini.j2", "unix_socket_group =")],
)  # fmt: skip
def test_who_gives_its_socket_to_a_group_may_do_so(role: str, file: str, gives: str) -> None:
    """Filters of a unit are read in order: what is taken away as privileged has to be given back behind."""
    assert gives in template(role, file)
    filters = re.findall(r"(?m)^SystemCallFilter=(.+)$", template(role, "unit.conf.j2"))
    taken = next(place for place, one in enumerate(filters) if one.startswith("~@privileged"))
    assert "chown" in " ".join(filters[taken + 1 :]).split()
