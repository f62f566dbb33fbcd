"""Words of the pages of evidence, operators and set-up: kinds of records, verdicts, rules, states of the host."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.console.language import mark

PROOF: Mapping[str, Mapping[str, str]] = {
    "kind": {
        "signal.received": mark("signal received"), "signal.refused": mark("signal refused"),
        "signal.accepted": mark("signal accepted"), "signal.planned": mark("signal planned"),
        "signal.outcome": mark("outcome of a signal"), "signal.replayed": mark("signal replayed"),
        "order.held": mark("order held"), "order.intent": mark("order intended"),
        "order.sent": mark("order sent"), "order.acknowledged": mark("order acknowledged"),
        "order.rejected": mark("order rejected"), "order.fill": mark("fill"),
        "order.amend": mark("order amended"), "order.cancel": mark("cancel asked for"),
        "order.close": mark("end of an order"), "order.in_doubt": mark("order in doubt"),
        "order.resolved": mark("doubt resolved"), "doubt.aged": mark("doubt grows old"),
        "doubt.decided": mark("doubt decided by a person"), "doubt.carried": mark("decision carried out"),
        "doubt.voided": mark("decision void"), "limit.passed": mark("limits passed"),
        "limit.blocked": mark("stopped by a limit"), "approval.asked": mark("approval asked for"),
        "approval.given": mark("approval given"), "approval.refused": mark("approval refused"),
        "approval.expired": mark("approval expired"), "kill_switch": mark("kill switch"),
        "admin.change": mark("change of settings"), "login": mark("sign-in"),
        "key.use": mark("use of a key"), "key.rotation": mark("rotation of a key"),
        "tenant.keys_destroyed": mark("tenant's keys destroyed"),
        "credential.proven": mark("credential proven"), "credential.refused": mark("credential refused"),
        "hsm.refused": mark("refused by the HSM"), "fills.reconciled": mark("fills reconciled"),
        "account.reconciled": mark("account reconciled"), "drift.found": mark("drift found"),
        "drift.explained": mark("drift explained"), "drift.corrected": mark("drift corrected"),
        "drift.closed": mark("drift closed"), "position.adjusted": mark("position adjusted"),
        "export": mark("export"), "hold": mark("hold placed"), "release": mark("hold released"),
        "shred": mark("content erased"), "clock": mark("clock"), "deployment": mark("deployment"),
        "checkpoint.refused": mark("checkpoint refused by a witness"), "alert": mark("alert"),
        "anchor": mark("anchor"),
    },
    "records": {
        "signal": mark("signals"), "order": mark("orders"), "change": mark("changes"),
        "alert": mark("alerts"),
    },
    "send_action": {
        "buy": mark("buy"), "sell": mark("sell"), "exit": mark("exit"), "add": mark("add"),
        "reverse": mark("reverse"), "cancel": mark("cancel orders"),
    },
    "quantity": {
        "fixed_quantity": mark("units or contracts"), "dollar_amount": mark("amount of money"),
        "percent_of_equity": mark("percent of equity"), "risk_percent": mark("percent at risk"),
        "risk_dollar_amount": mark("amount at risk"),
        "percent_of_position": mark("percent of the position"),
    },
    "doubt": {"in_doubt": mark("in doubt"), "stuck": mark("cannot be sent")},
    "settles": {
        "in_doubt": mark(
            "The broker's word that it has the order, or a proof that it does not; or yours, who looked there."
        ),
        "stuck": mark("The broker taking or refusing it. Or your word that it is not to be sent any more."),
    },
    "verdict": {
        "absent": mark("does not exist at the broker"), "exists": mark("exists at the broker"),
        "stop": mark("not to be sent any more"),
    },
    "decided": {
        "pending": mark("waits for its worker"), "carried": mark("carried out"),
        "void": mark("void: the broker was faster"), "order": mark("an order"),
        "asked": mark("asks a person first"), "nothing": mark("nothing"),
    },
    "undone": {
        "unsent": mark("It could not be sent."), "rejected": mark("The broker rejected it."),
        "absent": mark("It is proven not to exist at the broker."),
        "denied": mark("It was stopped before it was sent."),
        "refused": mark("No worker could read the signal."),
    },
    "clock_state": {
        "ok": mark("within the bound"), "degraded": mark("worse than the bound"),
        "unknown": mark("not known"),
    },
    "tenant_kind": {"platform": mark("platform"), "customer": mark("customer")},
    "tenant_state": {
        "active": mark("trades"), "halted": mark("halted"), "reducing": mark("closes only"),
    },
    "key_state": {
        "current": mark("current"), "old": mark("replaced, still needed"),
        "ending": mark("about to be destroyed"), "destroyed": mark("destroyed"),
    },
    "export_state": {
        "asked": mark("asked for"), "making": mark("being made"), "made": mark("ready"),
        "failed": mark("failed"), "gone": mark("gone"),
    },
    "regime": {
        "sec-17a-4": mark("SEC rule 17a-4"), "finra": mark("FINRA rule 4511"),
        "mifid": mark("MiFID II, five years"), "mifid-7": mark("MiFID II, seven years"),
        "twse": mark("Taiwan's rules for securities firms"),
    },
    "record_class": {"trade": mark("trading"), "admin": mark("administration")},
    "export_format": {"csv": "CSV", "parquet": "Parquet", "html": mark("a page for people (HTML)")},
    "report": {"fairness": mark("Fairness"), "execution": mark("Best execution")},
    "standing": {
        "early": mark("earlier than chance"), "as_expected": mark("as chance has it"),
        "late": mark("later than chance"),
    },
    "cost_by": {
        "all": mark("all"), "broker": mark("broker"), "symbol": mark("symbol"),
        "hour": mark("hour, UTC"), "ord_type": mark("order type"),
    },
}  # fmt: skip
"""Group → value → message id."""
