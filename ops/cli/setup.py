"""`portcullis tenant|strategy|hook|account|credential|subscription`: set up customers, one by one.

Objects are named by id; every command prints the id that the next one needs, with --json as data.
A secret is typed at a prompt or read from a file, never an argument: the shell keeps those.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import click
import msgspec

from ops import control
from ops.cli.output import json_option, print_json, print_table
from ops.onboard import NewHook, Onboarding, onboarding, operator_scope
from ops.settings import read_settings
from ops.trial.sender import Sent, sender
from tenancy.database import Database
from tenancy.errors import Invalid, Unavailable
from tenancy.scope import Actor
from tenancy.store.listing import LISTS, list_rows
from tenancy.strategy import StrategySettings
from tenancy.subscription import SubscriptionSettings
from tenancy.values import AccountID, StrategyID, TenantID, positive

T = TypeVar("T")

tenant_option = click.option(
    "--tenant", "tenant_id", type=click.UUID, required=True, help="The tenant's id."
)


class Amount(click.ParamType):
    """A decimal number greater than 0, to the last digit."""

    name = "decimal"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Decimal:
        try:
            return positive(value, param.name if param and param.name else "value")
        except ValueError as error:
            self.fail(str(error), param, ctx)


AMOUNT = Amount()


def _do(file: Path, act: Callable[[Onboarding], Awaitable[T]]) -> T:
    """Run one step of onboarding against the running installation."""

    async def run() -> T:
        settings = read_settings(file)
        control.check_runs(settings)
        async with onboarding(settings) as onboard:
            return await act(onboard)

    return asyncio.run(run())


def _say(as_json: bool, **made: Any) -> None:
    if as_json:
        print_json(made)
    else:
        print_table(("made", "is"), [(name, str(value)) for name, value in made.items()])


def _list(file: Path, what: str, tenant_id: UUID, as_json: bool) -> None:
    async def run() -> list[Sequence[Any]]:
        settings = read_settings(file)
        control.check_runs(settings)
        database = Database(settings.database.admin, name="portcullis-list", size=1)
        await database.open()
        try:
            async with database.tenant(operator_scope(TenantID(tenant_id))) as conn:
                return await list_rows(conn, what)
        finally:
            await database.close()

    columns, rows = LISTS[what].columns, asyncio.run(run())
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(columns, rows)


@click.group()
def tenant() -> None:
    """Customers: each with its own keys in the HSM and its own audit log."""


@tenant.command("create")
@click.argument("name")
@json_option
@click.pass_obj
def create_tenant(file: Path, name: str, as_json: bool) -> None:
    """Make a tenant, its keys, its audit log and a key for the management API (shown once)."""

    async def act(onboard: Onboarding) -> tuple[UUID, str]:
        scope = await onboard.tenant(name, Actor(kind="human", id="operator"))
        return scope.tenant_id, await onboard.service_key(scope, "first key")

    tenant_id, key = _do(file, act)
    _say(as_json, tenant=tenant_id, service_key=key)


@click.group()
def strategy() -> None:
    """Strategies: what sends signals."""


@strategy.command("create")
@tenant_option
@click.argument("name")
@click.option(
    "--asset-class", type=click.Choice(["crypto", "stock", "future", "option"]), default="crypto"
)
@click.option(
    "--sequence", type=click.Choice(["rotate", "random", "fixed"]), default="rotate",
    show_default=True, help="In which order the accounts trade.",
)  # fmt: skip
@click.option("--quantity", type=AMOUNT, help="Default where a signal has none.")
@json_option
@click.pass_obj
def create_strategy(
    file: Path, tenant_id: UUID, name: str, asset_class: str, sequence: Any,
    quantity: Decimal | None, as_json: bool,
) -> None:  # fmt: skip
    """Make a strategy."""
    made = _do(
        file,
        lambda onboard: onboard.strategy(
            operator_scope(TenantID(tenant_id)), name, asset_class=asset_class, sequence=sequence,
            settings=StrategySettings(default_quantity=quantity),
        ),
    )  # fmt: skip
    _say(as_json, strategy=made)


@strategy.command("list")
@tenant_option
@json_option
@click.pass_obj
def list_strategies(file: Path, tenant_id: UUID, as_json: bool) -> None:
    """Every strategy of the tenant."""
    _list(file, "strategies", tenant_id, as_json)


@click.group()
def hook() -> None:
    """Hooks: the addresses to which signals are sent."""


@hook.command("create")
@tenant_option
@click.option("--strategy", "strategy_id", type=click.UUID, required=True)
@json_option
@click.pass_obj
def create_hook(file: Path, tenant_id: UUID, strategy_id: UUID, as_json: bool) -> None:
    """Make a hook with a fresh Standard Webhooks secret, shown once. In force within a second."""
    made = _do(
        file,
        lambda onboard: onboard.hook(operator_scope(TenantID(tenant_id)), StrategyID(strategy_id)),
    )
    state = control.state_of(read_settings(file))
    url = f"{state.urls['ingress']}/v1/hooks/{made.hook_id}" if state else "start it to see the URL"
    _say(as_json, hook=made.hook_id, url=url, secret=made.secret)


@hook.command("list")
@tenant_option
@json_option
@click.pass_obj
def list_hooks(file: Path, tenant_id: UUID, as_json: bool) -> None:
    """Every hook of the tenant."""
    _list(file, "hooks", tenant_id, as_json)


@hook.command("send")
@click.argument("hook_id")
@click.argument("body")
@click.option(
    "--secret-file", type=click.File(), help="A file with the whsec_ secret; else it is asked for."
)
@click.option("--message-id", help="Repeat a message under its own id.")
@click.pass_obj
def send(file: Path, hook_id: str, body: str, secret_file: Any, message_id: str | None) -> None:
    """Sign BODY (a JSON object) and send it to the hook of this installation."""
    try:
        fields = json.loads(body)
    except json.JSONDecodeError as error:
        raise Invalid(f"BODY is not JSON: {error}") from None
    secret = (
        secret_file.read().strip()
        if secret_file
        else click.prompt("The hook's secret (whsec_…)", hide_input=True)
    )
    sent = asyncio.run(_send(file, NewHook(hook_id, secret), message_id, fields))
    click.echo(f"{sent.status or 'no answer'} after {sent.took_s * 1000:.1f} ms\n{sent.answer}")
    sys.exit(0 if sent.status == 202 else 1)


async def _send(
    file: Path, target: NewHook, message_id: str | None, fields: dict[str, Any]
) -> Sent:
    settings = read_settings(file)
    state = control.state_of(settings)
    if state is None:
        raise Unavailable("nothing runs: `portcullis up` starts it")
    authority = settings.instance.var / "tls" / "ca.pem"
    async with sender(state.urls["ingress"], authority, target) as strategy_sender:
        return await strategy_sender.send(message_id, **fields)


@click.group()
def account() -> None:
    """Client accounts at brokers."""


@account.command("create")
@tenant_option
@click.argument("name")
@click.option("--broker", required=True, help="gateio or paper.")
@click.option("--currency", default="USDT", show_default=True)
@click.option("--stated-equity", type=AMOUNT, help="Where the broker reports none.")
@click.option("--leverage", type=AMOUNT, default="1", show_default=True)
@json_option
@click.pass_obj
def create_account(
    file: Path, tenant_id: UUID, name: str, broker: str, currency: str,
    stated_equity: Decimal | None, leverage: Decimal, as_json: bool,
) -> None:  # fmt: skip
    """Make an account; give it a credential next, where its broker needs one."""
    known = read_settings(file).brokers
    if broker not in known:
        raise Invalid(f"broker {broker!r} is not set up here; there is {', '.join(sorted(known))}")
    made = _do(
        file,
        lambda onboard: onboard.account(
            operator_scope(TenantID(tenant_id)), name, broker=broker, currency=currency,
            stated_equity=stated_equity, leverage=leverage,
        ),
    )  # fmt: skip
    _say(as_json, account=made)


@account.command("list")
@tenant_option
@json_option
@click.pass_obj
def list_accounts(file: Path, tenant_id: UUID, as_json: bool) -> None:
    """Every account of the tenant."""
    _list(file, "accounts", tenant_id, as_json)


@click.group()
def credential() -> None:
    """API keys of accounts: sealed on the way in, never readable again."""


@credential.command("enrol")
@tenant_option
@click.option("--account", "account_id", type=click.UUID, required=True)
@click.option("--broker", required=True)
@click.option("--api-key", required=True, help="The public half, as the broker names it.")
@click.option(
    "--secret-file", type=click.File("rb"), help="A file with the secret; else it is asked for."
)
@click.pass_obj
def enrol(
    file: Path, tenant_id: UUID, account_id: UUID, broker: str, api_key: str, secret_file: Any
) -> None:
    """Encrypt the API secret to the enrolment key here, seal it in the HSM, make it the live one."""
    secret: bytes = (
        secret_file.read().strip()
        if secret_file
        else click.prompt("The API secret", hide_input=True).encode()
    )
    _do(
        file,
        lambda onboard: onboard.credential(
            operator_scope(TenantID(tenant_id)), AccountID(account_id), broker=broker,
            api_key=api_key, secret=secret,
        ),
    )  # fmt: skip
    click.echo("sealed; it is the account's live credential now")


@click.group()
def subscription() -> None:
    """Which account follows which strategy, and how it is sized."""


@subscription.command("create")
@tenant_option
@click.option("--strategy", "strategy_id", type=click.UUID, required=True)
@click.option("--account", "account_id", type=click.UUID, required=True)
@click.option("--priority", type=int, default=0, show_default=True)
@click.option(
    "--settings", "text", default="{}",
    help='JSON, e.g. {"override_quantity": "0.5", "override_quantity_type": "multiplier"}.',
)  # fmt: skip
@json_option
@click.pass_obj
def create_subscription(
    file: Path, tenant_id: UUID, strategy_id: UUID, account_id: UUID, priority: int, text: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Let an account follow a strategy."""
    try:
        settings = msgspec.json.decode(text, type=SubscriptionSettings)
    except msgspec.DecodeError as error:
        raise Invalid(f"--settings: {error}") from None
    made = _do(
        file,
        lambda onboard: onboard.subscription(
            operator_scope(TenantID(tenant_id)), StrategyID(strategy_id), AccountID(account_id),
            settings, priority=priority,
        ),
    )  # fmt: skip
    _say(as_json, subscription=made)


@subscription.command("list")
@tenant_option
@json_option
@click.pass_obj
def list_subscriptions(file: Path, tenant_id: UUID, as_json: bool) -> None:
    """Every subscription of the tenant."""
    _list(file, "subscriptions", tenant_id, as_json)
