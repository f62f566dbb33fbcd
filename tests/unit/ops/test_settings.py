"""What the settings file refuses, and that it says where."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ops.compose import fanout_settings
from ops.initialise import Choices, document
from ops.paths import places
from ops.processes import specs
from ops.settings import decode_settings, read_settings
from ops.toml import dumps
from ops.vault import signer_client
from tenancy.errors import ConfigurationError
from tests.contract.shioaji_venue import shioaji_settings


@pytest.fixture
def good() -> dict[str, Any]:
    written = document(places(Path("/srv/portcullis/var")), Choices())
    return copy.deepcopy(written)


def refusal(settings: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as refused:
        decode_settings(dumps(settings).encode())
    return str(refused.value)


def test_what_init_writes_is_accepted(good: dict[str, Any]) -> None:
    settings = decode_settings(dumps(good).encode())
    assert settings.ingress.time_window_s == 300
    assert settings.brokers["paper"]["instruments"][0]["multiplier"] == "0.0001"


def test_an_unknown_key_is_refused_with_its_path(good: dict[str, Any]) -> None:
    good["ingress"]["tiem_window_s"] = 300
    assert "tiem_window_s" in refusal(good)
    assert "$.ingress" in refusal(good)


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("ingress", "body_limit_bytes"),
        ("ingress", "time_window_s"),
        ("ingress", "rate_per_minute"),
        ("worker", "lease_ttl_s"),
        ("database", "pool_size"),
        ("clock", "error_max_ms"),
    ],
)
def test_what_limits_or_protects_has_no_default(good: dict[str, Any], table: str, key: str) -> None:
    del good[table][key]
    assert key in refusal(good)


def test_without_a_clock_no_agent_runs(good: dict[str, Any]) -> None:
    def names() -> set[str]:
        settings = decode_settings(dumps(good).encode())
        return {spec.name for spec in specs(settings, Path("/srv/p.toml"), 3, 4)}

    assert "clock-0" in names()
    del good["clock"]
    assert "clock-0" not in names()


def test_each_person_of_shioaji_has_a_process(good: dict[str, Any], tmp_path: Path) -> None:
    good["brokers"]["shioaji"] = msgspec.to_builtins(shioaji_settings(tmp_path), enc_hook=str)
    settings = decode_settings(dumps(good).encode())
    run = {spec.name: spec for spec in specs(settings, Path("/srv/p.toml"), 3, 4)}
    assert "ops.run" in run["session-0"].command()
    assert "session-1" not in run
    assert run["session-0"].stage == run["worker-0"].stage


def test_a_password_in_a_connection_string_is_refused_and_not_repeated(
    good: dict[str, Any],
) -> None:
    good["database"]["worker"] += " password = hunter2"
    assert "passfile" in refusal(good)
    assert "hunter2" not in refusal(good)


def test_a_socket_path_that_the_kernel_cannot_bind_is_refused(good: dict[str, Any]) -> None:
    good["hsm"]["signer_socket"] = "/" + "x" * 107
    assert "at most 107" in refusal(good)


def test_further_signers_are_asked_in_their_order_and_run_under_their_names(
    good: dict[str, Any],
) -> None:
    good["hsm"]["more_signers"] = [
        {"config": f"/etc/{n}.toml", "socket": f"/run/{n}.sock"} for n in ("b", "c")
    ]
    del good["stack"]
    settings = decode_settings(dumps(good).encode())
    assert list(settings.hsm.signer_sockets) == ["signer", "signer2", "signer3"]
    assert [str(line.path) for line in signer_client(settings.hsm).lines][1:] == [
        "/run/b.sock", "/run/c.sock",
    ]  # fmt: skip
    run = {spec.name: spec.command() for spec in specs(settings, Path("/s.toml"), 3, 4)}
    assert run["signer3"][-2:] == ["--config", "/etc/c.toml"]
    assert "hsm.signer" in run["signer2"]
    good["hsm"]["more_signers"][0]["socket"] = "/" + "x" * 107
    assert "at most 107" in refusal(good)


def test_a_relative_path_is_refused(good: dict[str, Any]) -> None:
    good["recorder"]["store"] = "audit"
    assert "absolute path" in refusal(good)


def test_a_window_outside_its_bounds_is_refused(good: dict[str, Any]) -> None:
    good["ingress"]["time_window_s"] = 0
    assert "$.ingress.time_window_s" in refusal(good)


def test_uvicorn_is_refused_where_no_proxy_is_before_it(good: dict[str, Any]) -> None:
    good["ingress"]["server"] = "uvicorn"
    assert "set socket" in refusal(good)
    good["ingress"]["server"] = "granian"
    assert "$.ingress.server" in refusal(good)
    for name in ("host", "port", "tls"):
        del good["ingress"][name]
    good["ingress"] |= {"server": "uvicorn", "socket": "/run/portcullis/ingress.sock"}
    assert decode_settings(dumps(good).encode()).ingress.server == "uvicorn"


def test_a_breaker_has_thresholds_of_its_own_and_bounds(good: dict[str, Any]) -> None:
    good["worker"]["breaker"] = {"account_failures": 3, "pause_most_s": 2.0}
    worker = fanout_settings(decode_settings(dumps(good).encode()))
    assert (worker.breaker.account_failures, worker.breaker.broker_failures) == (3, 20)
    assert worker.breaker.pause_most_s == 2.0
    good["worker"]["breaker"] = {"account_failures": 0}
    said = refusal(good)
    assert "must be at least 1" in said
    assert "$.worker.breaker" in said


def test_a_file_that_others_may_write_is_refused(good: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "portcullis.toml"
    file.write_text(dumps(good))
    file.chmod(0o620)
    with pytest.raises(ConfigurationError, match="chmod 0600"):
        read_settings(file)


def test_a_missing_file_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="portcullis init"):
        read_settings(tmp_path / "none.toml")


def stores(good: dict[str, Any], *further: dict[str, Any], **recorder: Any) -> dict[str, Any]:
    good["recorder"] |= {"stores": list(further), **recorder}
    return good


SECOND = {"kind": "directory", "name": "second", "path": "/mnt/second"}
BUCKET = {
    "kind": "s3", "name": "vault", "endpoint": "https://s3.example", "region": "r",
    "bucket": "audit", "credentials_file": "/etc/portcullis/s3.key",
}  # fmt: skip


def test_further_stores_are_directories_and_buckets(good: dict[str, Any]) -> None:
    settings = decode_settings(dumps(stores(good, SECOND, BUCKET)).encode()).recorder
    assert [one.name for one in settings.stores] == ["second", "vault"]
    assert [one.every_s for one in settings.stores] == [1.0, 60.0]
    assert settings.retain_days == 2192


@pytest.mark.parametrize(
    ("further", "why"),
    [
        ([SECOND, SECOND], "a name of its own"),
        ([SECOND | {"name": "first"}], "none is called `first`"),
        ([SECOND | {"path": "/srv/portcullis/var/audit"}], "not where the first one is"),
        ([SECOND | {"kind": "tape"}], "tape"),
        ([BUCKET | {"secret_access_key": "x"}], "unknown field"),
        ([BUCKET | {"prefix": "/logs"}], "prefix"),
    ],
)
def test_stores_that_would_be_no_second_set_are_refused(
    good: dict[str, Any], further: list[dict[str, Any]], why: str
) -> None:
    assert why in refusal(stores(good, *further))


def test_a_sealer_runs_where_its_socket_is_named_and_looks_after_every_directory(
    good: dict[str, Any],
) -> None:
    assert "sealer" not in [
        spec.name for spec in specs(decode_settings(dumps(good).encode()), Path("/x"), 3, 4)
    ]
    sealed = stores(good, SECOND, BUCKET, sealer="/run/p/sealer.sock")
    found = {
        spec.name: spec for spec in specs(decode_settings(dumps(sealed).encode()), Path("/x"), 3, 4)
    }
    words = found["sealer"].command()
    assert [words[at + 1] for at, word in enumerate(words) if word == "--store"] == [
        "/srv/portcullis/var/audit", "/mnt/second",
    ]  # fmt: skip
