"""HSM: signer, enroller and their token; who asks them, how long it takes, and when keys are due."""

from __future__ import annotations

from ops.dashboards.board import CHOSEN, OURS, Board, Row
from ops.dashboards.panels import (
    BAD,
    GOOD,
    WARN,
    heat,
    increase,
    lines,
    mean,
    most,
    number,
    quantile,
    quantiles,
    rate,
    total,
)

RATE = "[$__rate_interval]"
SIGNATURES = f'{CHOSEN}, kind="sign_request"'


def figure(name: str) -> str:
    """A daemon's own figure at its last status."""
    return f'max by (instance, daemon) (portcullis_hsm_daemon{{{CHOSEN}, figure="{name}"}})'


NOW = Row(
    "Now",
    (
        number(
            "Daemons well", "Signers and enroller that answer and whose token is well, of all. Without a signer no"
            " request to a broker can be signed and no checkpoint either.", "percentunit",
            mean("portcullis_hsm_up", CHOSEN), steps=((0, BAD), (0.999, GOOD)),
            alerts=("PortcullisSignerDown", "PortcullisSignerOfSeveralDown", "PortcullisEnrollerDown"),
        ),
        number(
            "Sign, 99th percentile", "One signature for a broker, as the worker waits for it.", "s",
            quantile(0.99, "portcullis_hsm_request_seconds", SIGNATURES),
            steps=((0.05, WARN), (0.25, BAD)), alerts=("PortcullisHsmSlow",),
        ),
        number(
            "Oldest canary", "Since when no canary of a daemon has sung: a known signature that proves the whole"
            " way through the token.", "s", most("portcullis_hsm_canary_age_seconds", CHOSEN),
            steps=((15, WARN), (30, BAD)), alerts=("PortcullisHsmCanarySilent",),
        ),
        number(
            "Refusals without a record", "Lines of the daemons' journals that are not in the audit log yet.",
            "short", total("portcullis_hsm_journal_behind_lines", CHOSEN),
            steps=((1, WARN),), alerts=("PortcullisHsmJournalBehind",),
        ),
        number(
            "First key due", "Until the first current key of any kind has to be rotated. Red: it is overdue.", "s",
            f"min(portcullis_hsm_key_due_timestamp_seconds{{{CHOSEN}}}) - time()",
            base=BAD, steps=((0, WARN), (14 * 86400, GOOD)),
            alerts=("PortcullisKeyOverdue", "PortcullisKeyDueSoon", "PortcullisKeyCalendarUnknown"),
        ),
        number(
            "Starts in the last hour", "How often daemons were started. They end by themselves when their token is"
            " lost, and a supervisor starts a clean one.", "short",
            f"sum(changes(portcullis_hsm_epoch{{{CHOSEN}}}[1h]))", steps=((1, WARN), (4, BAD)),
            alerts=("PortcullisHsmRestarts",), decimals=0,
        ),
    ),
)  # fmt: skip
CLIENTS = Row(
    "As the clients see it",
    (
        lines(
            "Requests", "By kind: `sign_request` for brokers, `sign_note` for checkpoints, `open_secret` for hooks"
            " and channels, `seal_…` for enrolment.", "ops",
            (rate("portcullis_hsm_request_seconds_count", CHOSEN, "kind"), "{{kind}}"),
        ),
        lines(
            "Latency by kind",
            "99th percentile, asking again included: a daemon that was restarted costs time, not"
            " a signature.", "s",
            *quantiles("portcullis_hsm_request_seconds", CHOSEN, "kind", of=(0.99,)),
            alerts=("PortcullisHsmSlow",),
        ),
        lines(
            "Refused or not answered",
            "By kind and code. `signing_refused` is the policy's no: something asked for"
            " what may not be signed.", "ops",
            (rate("portcullis_hsm_failures_total", CHOSEN, "kind, code"), "{{kind}} {{code}}"),
            alerts=("PortcullisHsmRefusals",),
        ),
        heat(
            "Signatures for brokers",
            "How their latency is spread. With a network HSM expect one band at its round"
            " trip.", "s",
            increase("portcullis_hsm_request_seconds_bucket", SIGNATURES, "le"),
            width=24,
        ),
    ),
)  # fmt: skip
DAEMONS = Row(
    "Daemons",
    (
        lines(
            "Answered, refused, busy", "A second, by daemon and outcome. `over_rate` is a tenant over its own rate"
            " of signatures.", "ops",
            (rate("portcullis_hsm_requests", CHOSEN, "daemon, outcome"), "{{daemon}} {{outcome}}"),
            alerts=("PortcullisHsmBusy", "PortcullisHsmRateUsedUp"),
        ),
        lines(
            "Refusals by code",
            "In ten minutes. `signing_refused` and `seal_broken` are evidence, and have records"
            " in the audit log.", "short",
            (f"sum by (daemon, code) (increase(portcullis_hsm_refusals{{{CHOSEN}}}[10m])) > 0",
             "{{daemon}} {{code}}"),
            alerts=("PortcullisHsmRefusals",),
        ),
        lines(
            "Requests that wait", "For a thread of the daemon.", "short",
            (figure("waiting"), "{{instance}} {{daemon}}"), alerts=("PortcullisHsmBusy",),
        ),
        lines(
            "Batch latency", "What the token needs for a batch, without waiting and without the socket.", "s",
            (figure("batch_p50_s"), "{{daemon}} p50"), (figure("batch_p99_s"), "{{daemon}} p99"),
        ),
        lines(
            "Longest call under way",
            "A call into the token that takes long. Beyond the setting `hang_s` the daemon"
            " ends itself, for no thread can be stopped from outside.", "s",
            (figure("busy_s"), "{{instance}} {{daemon}}"),
        ),
        lines(
            "Sessions with the token", "Threads of the daemon and one for its watch. A drop is a token that was"
            " reset.", "short",
            (most("portcullis_hsm_sessions", CHOSEN, "instance, daemon"), "{{instance}} {{daemon}}"),
        ),
        lines(
            "Keys held open", "Accounts' keys that the signer has in the token's session memory, and requests that"
            " found theirs there or had to have it unwrapped.", "short",
            (figure("keys"), "{{daemon}} keys"),
            (f'sum by (daemon) (rate(portcullis_hsm_daemon{{{CHOSEN}, figure="key_misses"}}{RATE}))',
             "{{daemon}} unwrapped a second"),
        ),
        lines(
            "Canary", "Age of the last good one, by daemon.", "s",
            (most("portcullis_hsm_canary_age_seconds", CHOSEN, "instance, daemon"), "{{instance}} {{daemon}}"),
            steps=((30, BAD),), alerts=("PortcullisHsmCanarySilent",),
        ),
        lines(
            "Until keys are due", "By kind, over all tenants: the first of each kind. What to do is in"
            " docs/hsm/rotation.md.", "s",
            (f"min by (kind) (portcullis_hsm_key_due_timestamp_seconds{{{CHOSEN}}}) - time()", "{{kind}}"),
            alerts=("PortcullisKeyDueSoon", "PortcullisKeyOverdue"),
        ),
    ),
)  # fmt: skip
BOARD = Board(
    uid="portcullis-hsm",
    title="Portcullis / HSM",
    description="Signer and enroller, their token, latency, refusals, and keys' due dates.",
    page="operating/dashboards.md",
    variables=OURS,
    rows=(NOW, CLIENTS, DAEMONS),
)
