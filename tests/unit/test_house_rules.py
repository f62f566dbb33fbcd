"""The rules of the house that no linter knows. A rule only in a document is a wish."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("tenancy", "hsm", "audit", "fanout", "gateway", "ops", "loadtest")
PRODUCT = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
EVERYTHING = [*PRODUCT, *sorted((ROOT / "tests").rglob("*.py"))]

MAY_MAKE_A_SCOPE = {
    "audit/keystore.py": "takes the tenant id from records that are written or read",
    "fanout/intake.py": "takes the tenant id from find_accepted_signals()",
    "fanout/interventions.py": "takes the tenant id from find_interventions() and find_untouched()",
    "fanout/proving.py": "takes the tenant id from find_unproven() and find_due_proofs()",
    "fanout/outcomes.py": "takes tenant ids from find_ended_signals()",
    "fanout/refresh.py": "takes the tenant id from find_accounts()",
    "fanout/adopting.py": "takes the tenant id from find_open_orders()",
    "fanout/parts.py": "takes tenant ids from plan_parts",
    "fanout/worker.py": "takes tenant ids from find_due_approvals()",
    "fanout/statements.py": "takes the tenant id from find_unchecked_statements()",
    "fanout/reconcile.py": "takes the tenant id from find_reconciled()",
    "fanout/drift_decisions.py": "takes the tenant id from find_drift_decisions()",
    "fanout/spill_drain.py": "a line of this host's spill names the tenant of the order that it is about",
    "fanout/stops.py": "takes the tenant id from find_held_orders() and find_timed_orders()",
    "gateway/notify/dispatcher.py": "takes the tenant id from find_due_channels()",
    "gateway/admin/auth.py": "has checked a service key",
    "gateway/admin/standing.py": "asks again about a caller who was authenticated when the answer began",
    "gateway/admin/access.py": "reads whether the tenant let this operator in, and writes both records",
    "gateway/admin/applying.py": "takes the tenant id from a proposal's row",
    "gateway/admin/key_calendar.py": "takes the tenant id from find_keys_to_warn()",
    "gateway/admin/resealing.py": "takes the tenant id from find_tenants_to_reseal()",
    "gateway/admin/scheduler.py": "takes tenant ids from finders",
    "gateway/admin/tenants.py": "an operator makes the tenant",
    "fanout/remembered.py": "takes the tenant id from an account that the worker was given",
    "ops/bench/pages_alone.py": "has just made the tenant, in a database of its own",
    "ops/platform.py": "makes the platform, before anybody could be authenticated",
    "gateway/admin/export_jobs.py": "takes tenant and asker from an export's own row, which the asker made",
    "ops/session/wiring.py": "takes the tenant id of a person from the operator's own settings",
    "ops/tenants.py": "is an operator's command on the host itself",
    "tenancy/store/sign_in.py": "takes the tenant id from what a token or a claimed name found",
    "tenancy/store/tenants.py": "has just made the tenant",
}
LINES_MOST = 400
Modules = dict[str, tuple[str, ast.Module]]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def modules() -> Modules:
    """Each file's text and what it says, by its name."""
    texts = ((name(path), path.read_text()) for path in EVERYTHING)
    return {file: (text, ast.parse(text)) for file, text in texts}


def test_every_module_says_what_it_is_for(modules: Modules) -> None:
    """An empty file says enough: it only makes a directory a package."""
    silent = [
        file for file, (text, tree) in modules.items() if text and not ast.get_docstring(tree)
    ]
    assert silent == []


def test_no_file_is_too_long_to_read(modules: Modules) -> None:
    lengths = {file: len(text.splitlines()) for file, (text, _) in modules.items()}
    assert {file: lines for file, lines in lengths.items() if lines > LINES_MOST} == {}


def imported(tree: ast.Module) -> set[str]:
    """Names of the modules, and of what is taken from them."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_nobody_mocks(modules: Modules) -> None:
    mocking = {
        file: names
        for file, (_, tree) in modules.items()
        if (names := {one for one in imported(tree) if "mock" in one})
    }
    assert mocking == {}


def test_only_who_knows_the_caller_makes_a_tenant_scope(modules: Modules) -> None:
    makers = {
        file
        for file in map(name, PRODUCT)
        for node in ast.walk(modules[file][1])
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Name) and node.func.id == "TenantScope")
            or (isinstance(node.func, ast.Attribute) and node.func.attr == "TenantScope")
        )
    }
    assert makers <= set(MAY_MAKE_A_SCOPE), "a new file makes a TenantScope: say here why it may"


def test_nothing_to_do_is_left_in_the_code(modules: Modules) -> None:
    words = ("TO" + "DO", "FIX" + "ME")
    left = [file for file, (text, _) in modules.items() if any(word in text for word in words)]
    assert left == []
