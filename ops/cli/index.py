"""Every command of `portcullis`: where it is, and its one line. `--help` and Tab read this and import no command.

The API's operations and their types take a second to import; a list of names takes none. The tests hold
this list against the commands themselves.
"""

from __future__ import annotations

COMMANDS = {
    "init": "ops.cli.lifecycle:init",
    "up": "ops.cli.lifecycle:up",
    "down": "ops.cli.lifecycle:down",
    "status": "ops.cli.lifecycle:status",
    "install": "ops.cli.lifecycle:install",
    "migrate": "ops.cli.lifecycle:migrate",
    "preflight": "ops.cli.lifecycle:preflight",
    "doctor": "ops.cli.doctor:doctor",
    "evidence": "ops.cli.evidence:evidence",
    "backup": "ops.cli.backup:backup",
    "restore": "ops.cli.backup:restore",
    "drill": "ops.cli.backup:drill",
    "bundle": "ops.cli.bundle:bundle",
    "capacity": "ops.cli.capacity:capacity",
    "clock": "ops.cli.clock:clock",
    "hsm": "ops.cli.hsm:hsm",
    "audit": "ops.cli.audit:audit",
    "witness": "ops.cli.witness:witness",
    "simulate": "ops.cli.simulate:simulate",
    "openapi": "ops.cli.openapi:openapi",
    "apply": "ops.cli.api.configure:apply",
    "export": "ops.cli.api.configure:export",
    "me": "ops.cli.api.me:me",
    "completion": "ops.cli.api.completion:completion",
}

ABOUT = {
    "init": "Make database, keys, certificates and settings, once.",
    "up": "Start everything and wait until all of it is ready.",
    "down": "Stop everything that `up` started, in order.",
    "status": "What runs, and is it ready.",
    "install": "Make what these settings name and is not there yet: tokens, schema, platform.",
    "migrate": "Bring the database schema forward.",
    "preflight": "Say why it would not start.",
    "doctor": "Check everything an operator would, and say what to do.",
    "evidence": "Secure what an incident leaves behind, in one archive.",
    "backup": "Take a base backup of everything now; the WAL archive goes on all the time.",
    "restore": "Bring an installation back from a backup, into a directory of its own.",
    "drill": "Prove a restore: into a second directory, counted signal by signal.",
    "bundle": "Make one signed archive that hosts without internet are installed from.",
    "capacity": "Say how many signals, orders and accounts a host carries, and which part is the limit.",
    "clock": "How right this host's clock is, and which tiers it meets.",
    "hsm": "Tokens and keys.",
    "audit": "Check the audit log, and prove what happened to an order.",
    "witness": "Run a witness: it signs that a log only ever grew.",
    "simulate": "Run a simulated exchange on loopback, to trade on without money.",
    "openapi": "Print the admin API's OpenAPI 3.1 document.",
    "apply": "Bring the tenant to the state that a file declares: all of it, or nothing.",
    "export": "Write the whole tenant as a file that `portcullis apply` takes.",
    "me": "Yourself, as a person: join, sign in, second factor, sign out.",
    "completion": "Print the script that completes commands, options and names of objects.",
    "tenant": "Customers of this installation, and one's own house: its settings and its limits.",
    "user": "People: who they are and what they may do. They are invited, and sign in at the console.",
    "key": "Service keys of this API: shown once, scoped, expiring, revocable.",
    "strategy": "Strategies: what sends signals, and what it sets for all its accounts.",
    "hook": "Hooks: the addresses to which signals are sent, and their secrets.",
    "group": "Groups of accounts: settings and limits for many accounts at once.",
    "account": "Client accounts at brokers.",
    "credential": "API keys of accounts: sealed on the way in, never readable again.",
    "subscription": "Which account follows which strategy, and how it is sized.",
    "limit": "Limits, and which of them holds: the tightest of platform, tenant, strategy, group, account.",
    "halt": "The kill switch: stop, cancel, close: an account, a group, a strategy, an instrument, or everything.",
    "signal": "Signals: what came, what was decided for each account, and what became of it.",
    "drift": "Where an account's book and its broker's differ, why, and what is decided of it.",
    "instrument": "What the brokers trade, with prices and their age.",
    "approval": "Signals that wait for a person's yes.",
    "order": "Orders: every attempt, and what the broker said of it.",
    "doubt": "Orders in doubt, what was tried, and a person's word about them.",
    "deadletter": "Signals that ended with something not done for a reason that passes; preview and replay.",
    "position": "Positions, as the fills add up to them.",
    "report": "Fairness between accounts, and what trading cost: tables, CSV files, pictures.",
    "event": "What happens, as it happens.",
    "proposal": "Changes that wait for a second person.",
    "channel": "Notifications: signed webhooks, e-mail, chats, and the key of Web Push.",
    "access": "Operators who ask to look into a tenant, and are let in for a time.",
}  # fmt: skip
"""In the order of `--help`. What is not in COMMANDS is a group made from the API's operations
(ops/cli/api/groups.py)."""

API = tuple(name for name in ABOUT if name not in COMMANDS)
