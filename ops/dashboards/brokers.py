"""Fan-out and brokers: from the plan to the broker's word, and what stands in the way."""

from __future__ import annotations

from ops.dashboards.board import CHOSEN, OURS, Board, Row, Variable
from ops.dashboards.panels import (
    BAD,
    GOOD,
    WARN,
    heat,
    increase,
    least,
    lines,
    most,
    number,
    quantile,
    quantiles,
    rate,
    total,
)

AT = f'{CHOSEN}, broker=~"$broker"'
RATE = "[$__rate_interval]"

NOW = Row(
    "Now",
    (
        number(
            "In doubt", "Orders of which nobody knows whether the broker has them. They are asked about, and never"
            " sent again meanwhile.", "short", total("portcullis_orders_in_doubt", CHOSEN),
            steps=((1, WARN), (10, BAD)), alerts=("PortcullisManyInDoubt",),
        ),
        number(
            "Oldest doubt", "How long the oldest of them is in doubt, or closes a position and cannot be sent.",
            "s", most("portcullis_doubt_oldest_seconds", CHOSEN),
            steps=((30, WARN), (300, BAD)), alerts=("PortcullisDoubtOld",),
        ),
        number(
            "Partitions held",
            "Of 16, by all workers together. Signals and orders of a partition that nobody holds"
            " stand still.", "short", total("portcullis_partitions_held", CHOSEN),
            steps=((0, BAD), (16, GOOD)), alerts=("PortcullisPartitionsUnheld",),
        ),
        number(
            "Thrown switches", "Layers of the kill switch that do not trade freely, as the workers know them.",
            "short", f"max(sum by (instance, process) (portcullis_switch_stops{{{CHOSEN}}}))",
            steps=((1, WARN),), alerts=("PortcullisKillSwitchThrown",),
        ),
        number(
            "Open drifts", "Differences between our books and the brokers', of any cause. `portcullis drift list"
            " --state open` says which.", "short", total("portcullis_drifts_open", CHOSEN),
            steps=((1, WARN),), alerts=("PortcullisDriftOpen", "PortcullisShortfallOpen"),
        ),
        number(
            "First order, 99th percentile", "From a plan, or a person's yes, to its first account's order on the"
            " wire.", "s", quantile(0.99, "portcullis_first_order_seconds", CHOSEN),
            steps=((0.5, WARN), (2, BAD)), alerts=("PortcullisLanesWait",),
        ),
    ),
)  # fmt: skip
PLANS = Row(
    "Plans",
    (
        lines(
            "Accounts decided, by reason", "Each account of each plan has one: `order` trades, all others say why"
            " not (docs/signals.md). A reason that jumps is the first place to look when orders are missing.",
            "short",
            (f"topk(12, sum by (reason) (increase(portcullis_planned_accounts_total{{{CHOSEN}}}{RATE})))",
             "{{reason}}"), width=12, stacked=True,
        ),
        lines(
            "Plans", "Committed, a second. Each is one signal of one strategy for all its accounts.", "ops",
            (rate("portcullis_plans_total", CHOSEN), "plans"),
        ),
        lines(
            "From the plan to the wire", "To the first account's order, and to the last one's, of each signal that"
            " is done. The distance between them is what the last client waits longer.", "s",
            (quantile(0.5, "portcullis_first_order_seconds", CHOSEN), "first p50"),
            (quantile(0.99, "portcullis_first_order_seconds", CHOSEN), "first p99"),
            (quantile(0.5, "portcullis_last_order_seconds", CHOSEN), "last p50"),
            (quantile(0.99, "portcullis_last_order_seconds", CHOSEN), "last p99"),
            width=12, alerts=("PortcullisLanesWait",),
        ),
        lines(
            "Limits that refused an order", "Accounts by limit. An order that was only made smaller is sent and is"
            " not here.", "short",
            (increase("portcullis_limits_hit_total", CHOSEN, "limit"), "{{limit}}"),
        ),
        lines(
            "Lanes", "One for each account and instrument: at work, and with orders that wait behind the one at"
            " work.", "short",
            (total("portcullis_lanes_busy", CHOSEN), "at work"),
            (total("portcullis_lanes_waiting", CHOSEN), "with orders behind"),
            alerts=("PortcullisLanesWait",),
        ),
        lines(
            "Slowest lane",
            "For how long the lane that has been at one thing longest has been at it. A doubt holds"
            " its lane; a silent broker holds all of its own.", "s",
            (most("portcullis_lane_oldest_seconds", CHOSEN, "instance, process"), "{{instance}} {{process}}"),
            alerts=("PortcullisLanesWait",),
        ),
    ),
)  # fmt: skip
ORDERS = Row(
    "Orders at the brokers",
    (
        lines(
            "Attempts by outcome", "`Acked` is the broker's yes, `Rejected` its no. `Unsent` certainly never"
            " arrived, `InDoubt` may have.", "ops",
            (rate("portcullis_orders_total", AT, "broker, outcome"), "{{broker}} {{outcome}}"),
            width=12, stacked=True, alerts=("PortcullisOrdersRejected",),
        ),
        heat(
            "Answer time of the chosen brokers",
            "From a request's first byte to its outcome, the signature and the"
            " wire included.", "s",
            increase("portcullis_submit_seconds_bucket", AT, "le"),
        ),
        lines(
            "Answer time by broker", "99th and 50th percentile. Compare with the broker's own status page before"
            " looking here for the reason.", "s",
            *quantiles("portcullis_submit_seconds", AT, "broker", of=(0.5, 0.99)),
        ),
        lines(
            "Broker answers", "1 while it answered last time, 0 while it does not.", "short",
            (least("portcullis_broker_up", AT, "broker"), "{{broker}}"), top=1,
            alerts=("PortcullisBrokerDown", "PortcullisBrokerSilent"),
        ),
        lines(
            "Breakers open", "Brokers, or accounts of one, that do not answer: what opens waits for a probe, what"
            " closes goes through.", "short",
            (total("portcullis_breakers_open", AT, "broker, of"), "{{broker}} {{of}}"),
            alerts=("PortcullisBrokerSilent", "PortcullisAccountsNotAnswered"),
        ),
        lines(
            "Orders that wait to be sent", "They certainly did not arrive. By what they wait for.", "short",
            (total("portcullis_orders_waiting", AT, "broker, why"), "{{broker}} {{why}}"),
            alerts=("PortcullisClosesWait",),
        ),
        lines(
            "Told by brokers themselves", "Messages of event streams. None for long, with orders open, is a stream"
            " that is silent: each order is asked about once a second all the same.", "ops",
            (rate("portcullis_hints_total", AT, "broker, kind"), "{{broker}} {{kind}}"),
            (total("portcullis_hint_streams", CHOSEN), "accounts with a stream"),
        ),
        lines(
            "Odd reports", "What the book had ruled out: a fill after a cancel, more than was ordered. It is"
            " counted, for what traded has traded.", "short",
            (increase("portcullis_surprising_reports_total", CHOSEN, "surprise"), "{{surprise}}"),
            alerts=("PortcullisSurprisingReport",),
        ),
    ),
)  # fmt: skip
BUDGET = Row(
    "Brokers' limits",
    (
        lines(
            "What one account may",
            "Requests a second that the broker's limit allows one account: its places, by"
            " the length of its window.", "ops",
            (f"min by (broker) (portcullis_budget_limit_places{{{AT}}}"
             f" / portcullis_budget_window_seconds{{{AT}}})", "{{broker}}"),
        ),
        lines(
            "Places used", "Requests a second that counted against the broker's limit, of all workers.", "ops",
            (rate("portcullis_budget_places_total", AT, "broker"), "{{broker}}"),
        ),
        lines(
            "Wait for a place", "How long an order waited until the limit let it go.", "s",
            *quantiles("portcullis_budget_wait_seconds", AT, "broker", of=(0.5, 0.99)),
            alerts=("PortcullisBudgetExhausted",),
        ),
        lines(
            "Waiting, and accounts used up", "Orders that wait for a place, and accounts whose limit is used up"
            " just now.", "short",
            (total("portcullis_budget_waiting", AT, "broker"), "{{broker}} orders waiting"),
            (total("portcullis_budget_exhausted_accounts", AT, "broker"), "{{broker}} accounts used up"),
            alerts=("PortcullisBudgetExhausted",),
        ),
        lines(
            "Limit shared through Redis",
            "1: Redis gives out the places; 0: each worker goes on with its own share,"
            " which is never more in all.", "short",
            (least("portcullis_budget_shared", AT, "broker"), "{{broker}}"), top=1,
            alerts=("PortcullisBudgetAlone",),
        ),
        lines(
            "Outcomes in one transaction", "Group commit of what was learned. It grows while a large fan-out is on"
            " its way.", "short",
            (quantile(0.5, "portcullis_learn_batch_size", CHOSEN), "p50"),
            (quantile(0.99, "portcullis_learn_batch_size", CHOSEN), "p99"),
        ),
        lines(
            "Dead man's switches",
            "Accounts with open orders whose broker shall cancel them when we are silent, by"
            " the broker's own word.", "short",
            (total("portcullis_dead_man_accounts", AT, "broker, state"), "{{broker}} {{state}}"),
            alerts=("PortcullisDeadManUnconfirmed",),
        ),
    ),
)  # fmt: skip
STANDING = Row(
    "What stands: stops, reconciliation, kill switch",
    (
        lines(
            "Held orders",
            "Watched by the gateway's own stop engine, and those whose price is missing or too old.",
            "short",
            (total("portcullis_held_orders", CHOSEN), "watched"),
            (total("portcullis_held_orders_without_price", CHOSEN), "without a price"),
            alerts=("PortcullisStopsBlind",),
        ),
        lines(
            "Stop engine", "Age of the oldest price that a held order is watched by, and how long one look at all"
            " of them takes.", "s",
            (most("portcullis_held_price_age_seconds", CHOSEN), "oldest price"),
            (quantile(0.99, "portcullis_stop_look_seconds", CHOSEN), "look p99"),
            alerts=("PortcullisStopsBlind",),
        ),
        lines(
            "Let go", "Held orders that reached their price, by what they were and where they went.", "short",
            (increase("portcullis_held_released_total", CHOSEN, "kind, to"), "{{kind}} → {{to}}"),
        ),
        lines(
            "Accounts by their last comparison",
            "With the broker's positions and open orders. Nothing opens on one"
            " before both agree.", "short",
            (total("portcullis_reconciled_accounts", CHOSEN, "state"), "{{state}}"), stacked=True,
            alerts=("PortcullisAccountsNotCompared", "PortcullisOrdersNotReconciled"),
        ),
        lines(
            "Oldest comparison", "Since the account that was compared longest ago was.", "s",
            (most("portcullis_reconciled_age_seconds", CHOSEN, "instance, process"),
             "{{instance}} {{process}}"), alerts=("PortcullisReconciliationOld",),
        ),
        lines(
            "Open drifts by cause",
            "`missed_signal` and `exchange_down` may be put right by a policy; `liquidated` and"
            " `unexplained` want a person.",
            "short", (total("portcullis_drifts_open", CHOSEN, "cause"), "{{cause}}"), stacked=True,
            alerts=("PortcullisDriftOpen", "PortcullisShortfallOpen"),
        ),
        lines(
            "Kill switch", "Orders that it stopped before they were sent, by reason; since when the oldest"
            " intervention is under way (seconds); and those that were not done in time.", "short",
            (increase("portcullis_interventions_late_total", CHOSEN, "level"), "late: {{level}}"),
            (increase("portcullis_switch_denied_total", CHOSEN, "reason"), "stopped: {{reason}}"),
            (most("portcullis_intervention_age_seconds", CHOSEN), "intervention under way, s"),
            alerts=("PortcullisInterventionLate",),
        ),
        lines(
            "Age of what workers know of the switch", "Beyond the lease nothing is sent any more by a worker that"
            " does not know where the switch stands.", "s",
            (most("portcullis_switch_age_seconds", CHOSEN, "instance, process"), "{{instance}} {{process}}"),
            alerts=("PortcullisSwitchUnread",),
        ),
        lines(
            "Not sent", "Orders that ended without a request: their record was not durable in time, or their"
            " account did not agree with its broker's book in time.", "short",
            (increase("portcullis_orders_without_audit_total", CHOSEN), "record not durable"),
            (increase("portcullis_orders_not_reconciled_total", CHOSEN), "not reconciled"),
            alerts=("PortcullisOrdersRefusedWithoutAudit", "PortcullisOrdersNotReconciled"),
        ),
        lines(
            "Spill", "Acts that were durable on their host alone when they began (PostgreSQL was away), and lines"
            " that are not in the log yet.", "short",
            (increase("portcullis_spilled_total", CHOSEN, "kind"), "{{kind}}"),
            (total("portcullis_spill_lines", CHOSEN), "lines not in the log"),
            (increase("portcullis_spill_failures_total", CHOSEN), "refused by the disk, or unreadable"),
            alerts=("PortcullisSpillWaits", "PortcullisSpillFails"),
        ),
        lines(
            "Brokers' statements", "Days of accounts whose fills were compared with the broker's: agreed, or not;"
            " and days without a statement yet.", "short",
            (increase("portcullis_statements_total", CHOSEN, "result"), "{{result}}"),
            (total("portcullis_statements_unchecked", CHOSEN), "not checked yet"),
            alerts=("PortcullisStatementDiffers", "PortcullisStatementsUnchecked"),
        ),
        lines(
            "Credentials", "Keys that a worker has no proof of yet, and brokers' answers about keys.", "short",
            (total("portcullis_credentials_unproven", CHOSEN), "unproven"),
            (increase("portcullis_credential_proofs_total", CHOSEN, "outcome"), "{{outcome}}"),
        ),
    ),
)  # fmt: skip
BOARD = Board(
    uid="portcullis-brokers",
    title="Portcullis / Fan-out and brokers",
    description="Plans, orders, doubt, brokers and their limits, stops, reconciliation, kill switch.",
    page="operating/dashboards.md",
    variables=(
        *OURS,
        Variable("broker", "Broker", 'label_values(portcullis_broker_up{job="$job"}, broker)'),
    ),
    rows=(NOW, PLANS, ORDERS, BUDGET, STANDING),
)
