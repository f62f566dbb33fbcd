"""The gateway: what senders and people at the API meet, and how a signal is kept and planned."""

from __future__ import annotations

from ops.dashboards.board import CHOSEN, OURS, Board, Row
from ops.dashboards.panels import (
    BAD,
    WARN,
    heat,
    increase,
    lines,
    most,
    number,
    quantile,
    quantiles,
    rate,
    total,
)

OK = 'outcome=~"accepted|repeated|done"'
RATE = "[$__rate_interval]"

NOW = Row(
    "Now",
    (
        number(
            "Signals accepted", "Signals that were kept and answered 202 (or 200, with their outcome), a second,"
            " over all hosts.", "reqps",
            f"sum(rate(portcullis_hook_requests_total{{{CHOSEN}, {OK}}}{RATE}))",
        ),
        number(
            "Signals lost to faults of ours", "Answered 5xx in the last five minutes: right, and not kept. Their"
            " senders were told to send again. Anything above 0 is a fault.", "short",
            f'sum(increase(portcullis_hook_requests_total{{{CHOSEN}, outcome=~"unavailable|outcome_unknown'
            '|overloaded|internal|audit_unavailable"}[5m]))',
            steps=((0.5, BAD),), alerts=("PortcullisSignalsNotKept",), decimals=0,
        ),
        number(
            "Accept, 99th percentile", "From the first byte of a request to its 202: what a sender waits for.",
            "s", quantile(0.99, "portcullis_accept_seconds", CHOSEN),
            steps=((0.25, WARN), (0.5, BAD)), alerts=("PortcullisAcceptSlow",),
        ),
        number(
            "Plan, 99th percentile", "From a signal's receipt to its plan's commit, before the first order.", "s",
            quantile(0.99, "portcullis_plan_seconds", CHOSEN),
            steps=((1, WARN), (5, BAD)), alerts=("PortcullisPlansSlow",),
        ),
        number(
            "Oldest signal without a plan", "For how long a worker has seen an accepted signal wait. It waits"
            " while an earlier order of its strategy is not in the book.", "s",
            most("portcullis_signals_waiting_oldest_seconds", CHOSEN),
            steps=((5, WARN), (15, BAD)), alerts=("PortcullisSignalsWait",),
        ),
        number(
            "Processes that answer", "Targets of the job that showed their metrics at the last scrape, of all that"
            " the hosts name.", "percentunit", 'avg(up{job="$job", instance=~"$instance"})',
            steps=((0, BAD), (0.999, "green")), alerts=("PortcullisProcessDown", "PortcullisNothingScraped"),
        ),
    ),
)  # fmt: skip
SIGNALS = Row(
    "Signals",
    (
        lines(
            "Answers to senders", "Every request to a hook by its code (docs/codes.md). What is refused is counted"
            " by the reason; nobody without a secret reaches the database.", "reqps",
            (rate("portcullis_hook_requests_total", CHOSEN, "outcome"), "{{outcome}}"),
            width=12, stacked=True, alerts=("PortcullisSignalsNotKept",),
        ),
        lines(
            "Outcomes", "Signals that are done, by what became of all their accounts together. `nothing`: no"
            " account had an order, which a reason on the next dashboard explains.", "ops",
            (rate("portcullis_signal_outcomes_total", CHOSEN, "outcome"), "{{outcome}}"),
            width=12, stacked=True,
        ),
        heat(
            "Accept latency", "How long senders waited for their 202. A second band above the first is a slow"
            " commit: compare with PostgreSQL's disk.", "s",
            increase("portcullis_accept_seconds_bucket", CHOSEN, "le"),
            alerts=("PortcullisAcceptSlow",),
        ),
        lines(
            "Where the time goes until the plan", "99th percentiles: until the commit of the signal (keep), until"
            " its 202 (accept), until its plan is committed (plan).", "s",
            (quantile(0.99, "portcullis_keep_seconds", CHOSEN), "keep p99"),
            (quantile(0.99, "portcullis_accept_seconds", CHOSEN), "accept p99"),
            (quantile(0.99, "portcullis_plan_seconds", CHOSEN), "plan p99"),
            width=12, alerts=("PortcullisPlansSlow",),
        ),
    ),
)  # fmt: skip
KEEPING = Row(
    "Keeping",
    (
        lines(
            "Signals that wait for a commit", "In each ingress process. From 2,048 on a signal is refused as"
            " `overloaded`.", "short",
            (most("portcullis_keep_queue_depth", CHOSEN, "instance, process"), "{{instance}} {{process}}"),
            steps=((512, WARN), (2048, BAD)), alerts=("PortcullisQueueLong",),
        ),
        lines(
            "Signals in one commit", "Group commit: when more come, more share one. The mean grows with load and"
            " with the disk's latency.", "short",
            (f"sum(rate(portcullis_keep_batch_signals_sum{{{CHOSEN}}}{RATE})) /"
             f" sum(rate(portcullis_keep_batch_signals_count{{{CHOSEN}}}{RATE}))", "mean"),
            (quantile(0.99, "portcullis_keep_batch_signals", CHOSEN), "p99"),
        ),
        lines(
            "Signals without a plan", "Accepted, and not planned yet: how many, and for how long a worker has seen"
            " the first of them (seconds).", "short",
            (total("portcullis_signals_waiting", CHOSEN), "waiting"),
            (most("portcullis_signals_waiting_oldest_seconds", CHOSEN), "oldest, s"),
            alerts=("PortcullisSignalsWait",),
        ),
        lines(
            "Commits that failed", "By what is then known: `unavailable` kept nothing, `outcome_unknown` nobody"
            " knows, and the sender's retry finds out.", "ops",
            (rate("portcullis_keep_failures_total", CHOSEN, "kind"), "{{kind}}"),
            alerts=("PortcullisSignalsNotKept",),
        ),
        lines(
            "Wake-ups that Redis did not take", "Workers find those signals by their sweep, within a second: it"
            " costs time and loses nothing.", "ops",
            (rate("portcullis_wake_failures_total", CHOSEN), "failed"),
            (rate("portcullis_wake_dropped_total", CHOSEN), "left to the sweep"),
            (rate("portcullis_sweeps_total", CHOSEN, "kind"), "found by the sweep: {{kind}}"),
            alerts=("PortcullisRedisAway",),
        ),
        lines(
            "Refused over a limit on use",
            "By the quota's name. A quota that is used up all the time is too small,"
            " or somebody's script runs in a circle.", "reqps",
            (rate("portcullis_rate_refusals_total", CHOSEN, "quota"), "{{quota}}"),
            (rate("portcullis_rate_local_total", CHOSEN), "decided without Redis"),
            alerts=("PortcullisRedisAway",),
        ),
        lines(
            "Hooks", "In memory, and secrets that the signer has not opened yet: signals for these are answered"
            " `unavailable`. The age says since when changes were not seen.", "short",
            (most("portcullis_hooks_loaded", CHOSEN), "in memory"),
            (most("portcullis_hook_secrets_unopened", CHOSEN), "secrets not open"),
            (f"max(time() - portcullis_hooks_checked_timestamp_seconds{{{CHOSEN}}})", "seconds since compared"),
            alerts=("PortcullisHooksStale",),
        ),
        lines(
            "Senders that wait for an outcome", "`Prefer: wait`: how many wait, and how many waits ended, by why.",
            "short",
            (total("portcullis_hook_waiting", CHOSEN), "waiting"),
            (increase("portcullis_hook_waits_total", CHOSEN, "end"), "{{end}}"),
        ),
        lines(
            "Refusals without a record of their own", "Beyond one a second and hook, refusals are counted, and the"
            " next record says how many there were. A steady line is somebody who guesses.", "ops",
            (rate("portcullis_refusals_unrecorded_total", CHOSEN), "not recorded"),
        ),
    ),
)  # fmt: skip
MANAGEMENT = Row(
    "Management listener",
    (
        lines(
            "Requests by status", "Every operation of the API, the console's among them.", "reqps",
            (rate("portcullis_admin_requests_total", CHOSEN, "status"), "{{status}}"),
            stacked=True,
        ),
        lines(
            "Busiest operations", "The ten operations that are asked for most.", "reqps",
            (f"topk(10, sum by (route) (rate(portcullis_admin_requests_total{{{CHOSEN}}}{RATE})))", "{{route}}"),
        ),
        lines(
            "Failed requests by operation", "Answers from 500 on. Each has a trace id in its problem document, and"
            " the log has the rest under it.", "reqps",
            (f'sum by (route) (rate(portcullis_admin_requests_total{{{CHOSEN}, status=~"5.."}}{RATE}))',
             "{{route}}"),
        ),
        lines(
            "Signing in", "Steps by outcome. Many `wrong_…` or `slowed` at once is somebody who tries passwords.",
            "ops",
            (rate("portcullis_logins_total", CHOSEN, "outcome"), "{{outcome}}"), width=6,
        ),
        lines(
            "Live streams",
            "Consoles and programs that listen to events, and streams that were ended because their"
            " client read too slowly.", "short",
            (total("portcullis_event_streams", CHOSEN), "open"),
            (increase("portcullis_event_streams_dropped_total", CHOSEN), "ended"), width=6,
        ),
        lines(
            "Jobs that failed", "Turns of the admin process' own jobs (proposals whose hour has come, exports, key"
            " calendar …) that ended with an error.", "ops",
            (f'sum by (task) (rate(portcullis_admin_job_turns_total{{{CHOSEN}, outcome="failed"}}{RATE}))',
             "{{task}}"), width=6, alerts=("PortcullisJobFails",),
        ),
        lines(
            "Notifications", "Attempts by outcome, over all channels; channels that take nothing; and notices that"
            " something could not be told.", "short",
            (increase("portcullis_notify_gaps_total", CHOSEN), "gap notices"),
            (increase("portcullis_notify_attempts_total", CHOSEN, "outcome"), "{{outcome}}"),
            (f'max(portcullis_notify_channels{{{CHOSEN}, state="failing"}})', "channels failing"),
            (total("portcullis_notify_devices", CHOSEN, "state"), "browsers {{state}}"),
            (increase("portcullis_notify_devices_ended_total", CHOSEN), "browsers that are no more"),
            width=6, alerts=("PortcullisNotificationsFail",),
        ),
        lines(
            "Notified after",
            "From what happened to the receiver's yes. A receiver that was away makes it long; what"
            " it missed is told when it is back.", "s",
            *quantiles("portcullis_notify_delay_seconds", CHOSEN, of=(0.5, 0.99)), width=12,
        ),
    ),
)  # fmt: skip
BOARD = Board(
    uid="portcullis-gateway",
    title="Portcullis / Gateway",
    description="Signals from the sender to the plan, and the management listener.",
    page="operating/dashboards.md",
    variables=OURS,
    rows=(NOW, SIGNALS, KEEPING, MANAGEMENT),
)
