"""The commands over the API: none is missing, each explains itself, and what was typed becomes the body."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner

from gateway.admin.declared import Configuration
from gateway.admin.operation import Operation
from gateway.admin.operations import OPERATIONS
from ops.api_client import Api, Refused, Reply, Unreachable, _reply, read_key
from ops.cli.api import naming
from ops.cli.api.build import _written
from ops.cli.api.configure import line_of, read_document
from ops.cli.api.connection import Where, _key, key_path
from ops.cli.api.fields import body, members
from ops.cli.api.switches import instrument
from ops.cli.main import API, cli
from ops.initialise import Choices, document
from ops.paths import places
from ops.toml import dumps
from tenancy.errors import ConfigurationError, Invalid
from tenancy.limits import Limits
from tenancy.subscription import SubscriptionSettings

KEY = "pck_0123456789abcdef_" + "s" * 43


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A body with everything in it."""

    name: str
    live: bool = False
    tags: tuple[str, ...] = ()
    limits: Limits = Limits()
    settings: SubscriptionSettings = SubscriptionSettings()


def every_command() -> list[tuple[str, ...]]:
    context = click.Context(cli)
    found: list[tuple[str, ...]] = []
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        inner = command.commands if isinstance(command, click.Group) else {}
        found += [(name, one) for one in inner] or [(name,)]
    return found


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_has_a_command_or_a_reason_why_not(operation: Operation) -> None:
    place = naming.place(operation)
    if place is None:
        reasons = (naming.segment(operation) in naming.NOT_HERE, operation.action is None,
                   operation.html, operation.name in naming.IN_OTHER_WORDS)  # fmt: skip
        assert any(reasons)
    else:
        assert place.group in API, f"{operation.path}: name its group in ops/cli/api/naming.py"


def test_no_two_operations_are_called_the_same() -> None:
    places = Counter(place for op in OPERATIONS if (place := naming.place(op)) is not None)
    assert [place for place, count in places.items() if count > 1] == []


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_has_help(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(cli, [*words, "--help"])
    assert done.exit_code == 0, done.output
    assert "Usage: " in done.output


SECRET_WORDS = ("secret", "password", "token", "key")
NO_SECRETS = frozenset(
    {"--secret-fd", "--secret-file", "--key-file", "--api-key", "--public-key", "--service-key",
     "--vkey-file", "--anchor-vkey-file", "--key-hours", "--keys", "--no-secret"}
)  # fmt: skip


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_no_secret_is_an_argument(words: tuple[str, ...]) -> None:
    """The shell's history and `ps` keep those; files and prompts they do not."""
    context = click.Context(cli)
    command = cli.get_command(context, words[0])
    if isinstance(command, click.Group):
        command = command.commands[words[1]]
    assert command is not None
    flags = {flag for param in command.params for flag in param.opts if flag.startswith("--")}
    suspect = {flag for flag in flags if any(word in flag for word in SECRET_WORDS)}
    devices = {"--token"} if words == ("hsm", "conformance") else set()  # a token's label
    assert suspect <= NO_SECRETS | devices


def test_the_handbooks_file_is_one_that_the_api_takes() -> None:
    page = (Path(__file__).parents[3] / "docs/operating/command-line.md").read_text()
    text = page.split("```toml\n")[1].split("```")[0]
    document = msgspec.json.encode(read_document(text, "tenant.toml"))
    declared = msgspec.json.decode(document, type=Configuration)
    again = msgspec.json.decode(msgspec.json.encode(declared))
    assert [one.name for one in declared.accounts] == ["Client 1", "Client 2"]
    assert read_document(dumps(again), "again") == again


def test_what_was_typed_becomes_the_body_and_what_was_not_stays_away() -> None:
    kinds = members(Body)
    given = {
        "body__name": "a", "body__live": None, "body__tags": ("x", "y"),
        "body__limits__max_order_quantity": Decimal("2.50"), "body__settings__override_quantity": None,
    }  # fmt: skip
    assert body(kinds, given) == {
        "name": "a", "tags": ["x", "y"], "limits": {"max_order_quantity": Decimal("2.50")},
    }  # fmt: skip


def test_options_come_over_the_file_that_a_body_began_with() -> None:
    start = {"name": "a", "limits": {"max_order_quantity": "1", "over_limit": "cut"}}
    given = {"body__limits__max_order_quantity": Decimal(2)}
    assert body(members(Body), given, start)["limits"] == {
        "max_order_quantity": Decimal(2), "over_limit": "cut",
    }  # fmt: skip


def test_a_member_that_is_taken_away_is_null_and_an_unknown_one_is_named() -> None:
    kinds = members(Body)
    assert body(kinds, {}, None, ("max-order-quantity",)) == {
        "limits": {"max_order_quantity": None}
    }
    with pytest.raises(Invalid, match="override-quantity"):
        body(kinds, {}, None, ("maximum",))


@pytest.mark.parametrize(("mode", "words"), [(0o644, "chmod 0600"), (0o640, "chmod 0600")])
def test_a_key_that_others_may_read_is_not_used(tmp_path: Path, mode: int, words: str) -> None:
    path = tmp_path / "my.key"
    path.write_text(KEY)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=words):
        read_key(path)


def test_a_key_is_in_no_error_and_no_repr(tmp_path: Path) -> None:
    path = tmp_path / "my.key"
    path.touch(mode=0o600)
    path.write_text(f"{KEY} and more")
    with pytest.raises(ConfigurationError) as refused:
        read_key(path)
    assert "s" * 20 not in str(refused.value)
    assert "s" * 20 not in repr(Api("https://localhost:1", KEY, None))


def test_a_key_of_this_host_goes_to_no_other_address_unasked(tmp_path: Path) -> None:
    settings = tmp_path / "portcullis.toml"
    key_path(settings, "fund").parent.mkdir(parents=True)
    key_path(settings, "fund").write_text(KEY)
    with pytest.raises(ConfigurationError, match="say which key"):
        _key(Where(settings=settings, url="https://elsewhere:1"))
    assert _key(Where(settings=settings)).name == "fund.key"


def test_of_several_keys_one_is_named(tmp_path: Path) -> None:
    settings = tmp_path / "portcullis.toml"
    key_path(settings, "a").parent.mkdir(parents=True)
    for name in ("a", "b", "operator"):
        key_path(settings, name).write_text(KEY)
    with pytest.raises(ConfigurationError, match="--as NAME, one of a, b"):
        _key(Where(settings=settings))
    assert _key(Where(settings=settings, platform=True)).stem == "operator"
    assert _key(Where(settings=settings, name="b")).stem == "b"


def test_a_tenants_name_becomes_a_file_that_stays_in_its_directory() -> None:
    directory = Path("/x/secrets/keys")
    for name in ("My Fund", "../../etc/passwd", "Fondë / 2"):
        path = key_path(Path("/x/portcullis.toml"), name)
        assert path.parent == directory
        assert " " not in path.name
    with pytest.raises(ConfigurationError):
        key_path(Path("/x/portcullis.toml"), "../..")


def test_keys_are_where_the_data_is_and_not_where_the_settings_are(tmp_path: Path) -> None:
    """As on a dedicated host, where `portcullis install` keeps the first key."""
    where, settings = places(tmp_path / "lib"), tmp_path / "etc" / "portcullis.toml"
    settings.parent.mkdir()
    settings.write_text(dumps(document(where, Choices())))
    assert key_path(settings, "operator") == where.keys / "operator.key"


def test_amounts_in_a_file_stay_what_was_written() -> None:
    document = read_document("[[strategies]]\nname = 'a'\n[strategies.limits]\nx = 0.10\n", "f")
    assert document["strategies"][0]["limits"]["x"] == Decimal("0.10")
    for wrong in ("x = nan", "x = inf", "x ="):
        with pytest.raises(Invalid):
            read_document(wrong, "f")


def test_the_line_of_an_entry_is_found() -> None:
    text = "# head\n[[a]]\nx = 1\n\n [[ b ]]\n[[a]]\n"
    assert (line_of(text, "a", 0), line_of(text, "a", 1), line_of(text, "b", 0)) == (2, 6, 5)
    assert line_of(text, "a", 2) is None


def test_a_refusal_without_a_problem_document_is_still_told() -> None:
    with pytest.raises(Refused, match="status 502"):
        _reply(502, {}, b"<html>")


async def test_nobody_there_is_told_as_such() -> None:
    async with Api("https://127.0.0.1:1", KEY, None) as api:
        with pytest.raises(Unreachable, match="does not answer"):
            await api.get("/v1/strategies")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_printed(shell: str) -> None:
    done = CliRunner().invoke(cli, ["completion", shell])
    assert done.exit_code == 0
    assert "_PORTCULLIS_COMPLETE" in done.output


def test_an_instrument_is_typed_as_broker_and_symbol() -> None:
    assert instrument("gateio:BTC_USDT") == {"broker": "gateio", "symbol": "BTC_USDT"}
    assert instrument("paper:A:B") == {"broker": "paper", "symbol": "A:B"}
    for wrong in (None, "", "BTC_USDT", "gateio:", ":BTC_USDT"):
        with pytest.raises(Invalid, match="broker:symbol"):
            instrument(wrong)


def test_a_halt_says_a_level_and_flatten_is_one_of_them() -> None:
    helped = CliRunner().invoke(cli, ["halt", "on", "--help"]).output
    for word in ("no_open", "block_all", "cancel_open", "flatten", "--flatten", "instrument"):
        assert word in helped


def test_an_answer_that_is_a_file_goes_where_it_is_wanted_and_else_to_the_screen(
    tmp_path: Path, capsys
):
    output = tmp_path / "out.csv"
    assert _written(Reply(status=200, content="a,b\r\n"), output)
    assert output.read_bytes() == b"a,b\r\n"
    assert _written(Reply(status=200, content={"a": 1}), output)
    assert output.read_bytes() == b'{"a":1}'
    capsys.readouterr()
    assert _written(Reply(status=200, content="a,b\r\n"), None)
    assert capsys.readouterr().out == "a,b\r\n"
    assert not _written(Reply(status=200, content={"a": 1}), None), "a table is shown instead"
