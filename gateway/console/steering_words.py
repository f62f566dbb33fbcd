"""What the API says in one word of accounts, settings, approvals and the kill switch, in words for people."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.console.language import mark
from gateway.console.setting_fields import LABELS

STEERING: Mapping[str, Mapping[str, str]] = {
    "trading": {
        "active": mark("active"), "reducing": mark("only reducing"), "halted": mark("halted"),
    },
    "credential": {
        "live": mark("in force"), "proving": mark("being proven"), "waiting": mark("waiting for a second person"),
        "refused": mark("refused by the broker"), "missing": mark("missing"),
    },
    "reconciled": {
        "agreed": mark("agree"), "differs": mark("differ"), "unknown": mark("could not be asked"),
    },
    "limit": {
        "leverage": mark("Leverage"), "daily_loss": mark("Loss today"),
        "orders_last_minute": mark("Orders in the last minute"),
        "position_quantity": mark("Lots held"), "position_notional": mark("Worth held"),
    },
    "scope": {
        "platform": mark("the whole platform"), "tenant": mark("the whole organisation"),
        "strategy": mark("strategy"), "group": mark("group"), "account": mark("account"),
        "instrument": mark("instrument"),
    },
    "level": {
        "no_open": mark("Open nothing"), "cancel_open": mark("Cancel orders"),
        "flatten": mark("Close everything"), "block_all": mark("Send nothing"),
    },
    "level_verb": {
        "no_open": mark("Open nothing more"), "cancel_open": mark("Cancel all open orders"),
        "flatten": mark("Cancel and close everything"), "block_all": mark("Send nothing at all"),
    },
    "level_hint": {
        "no_open": mark("What is open stays; closing goes on."),
        "cancel_open": mark("Open orders go; positions stay with their stops."),
        "flatten": mark("Orders go, and every position is closed at market."),
        "block_all": mark("No order leaves, exits and our own stops neither."),
    },
    "act": {
        "working": mark("under way"), "done": mark("done"), "failed": mark("failed"),
        "released": mark("released"),
    },
    "drift": {
        "position": mark("position"), "order": mark("an order that is not ours"),
        "shortfall": mark("less than was meant"),
    },
    "cause": {
        "manual_order": mark("Somebody traded by hand."), "missed_signal": mark("A signal was missed."),
        "insufficient_funds": mark("The broker refused for lack of funds."),
        "exchange_down": mark("The broker was away."),
        "just_subscribed": mark("The account has just been subscribed."),
        "settings_changed": mark("Settings were changed."),
        "liquidated": mark("The broker closed the position itself."),
        "unexplained": mark("Nobody knows why."),
    },
    "decision": {
        "accept": mark("accepted"), "set_aside": mark("set aside"), "correct": mark("to be corrected"),
        "halt": mark("account halted"),
    },
    "decision_long": {
        "accept": mark("Accept: the broker's position is the book's"),
        "set_aside": mark("Set aside: it is not ours, leave it alone"),
        "correct": mark("Correct: an order brings it to our book"),
        "halt": mark("Halt the account"),
    },
    "approval": {
        "pending": mark("waiting"), "approved": mark("approved"), "rejected": mark("declined"),
        "expired": mark("expired"), "void": mark("came to nothing"),
    },
    "proposal": {
        "open": mark("waits for a second person"), "approved": mark("approved, its hour is to come"),
        "applied": mark("agreed and done"), "rejected": mark("declined"), "withdrawn": mark("withdrawn"),
        "expired": mark("expired"), "failed": mark("failed"),
    },
    "operation": {
        "create": mark("Make"), "change": mark("Change"), "remove": mark("Remove"),
        "state": mark("Release"), "erase": mark("Erase"), "apply": mark("Apply"),
    },
    "object": {
        "account": mark("account"), "strategy": mark("strategy"), "subscription": mark("subscription"),
        "group": mark("group"), "tenant": mark("organisation"), "person": mark("person"),
        "credential": mark("credential"), "hook": mark("hook"), "hook_secret": mark("secret of a hook"),
        "drift_decision": mark("decision about a drift"), "service_key": mark("service key"),
        "instrument": mark("instrument"), "channel": mark("channel"),
        "doubt_decision": mark("word about an order"), "audit_hold": mark("hold on records"),
        "audit_subject": mark("contents of records"), "audit_lift": mark("halted audit log"),
        "examiner": mark("examiner"), "configuration": mark("whole configuration"),
        "offboarding": mark("end of a customer"),
    },
    "category": {
        "credentials": mark("credentials"), "limits": mark("limits"), "live": mark("real money"),
        "halt_release": mark("release of a halt"), "retention": mark("keeping of evidence"),
        "roles": mark("who may do what"), "approvals": mark("approvals"), "drifts": mark("drifts"),
        "doubt": mark("orders in doubt"), "evidence": mark("evidence"), "examiner": mark("examiners"),
        "offboarding": mark("end of a customer"), "audit_lift": mark("halted audit logs"),
    },
    "actor": {
        "human": mark("person"), "api": mark("service key"), "algo": mark("algorithm"),
        "sys": mark("Portcullis itself"),
    },
    "switch": {"true": mark("on"), "false": mark("off")},
    "action": {
        "buy": mark("buy"), "sell": mark("sell"), "exit": mark("exit"), "add": mark("add"),
        "cancel": mark("cancel orders"), "reverse": mark("reverse"), "target": mark("target position"),
    },
    "option": {
        "market": mark("market"), "limit": mark("limit"), "stop": mark("stop"), "stop_limit": mark("stop limit"),
        "trailing_stop": mark("trailing stop"), "day": mark("day"), "gtc": mark("until cancelled"),
        "opg": mark("at the opening"), "cls": mark("at the close"), "ioc": mark("immediate or cancel"),
        "fok": mark("fill or kill"), "both": mark("both"), "long": mark("long"), "short": mark("short"),
        "fixed_quantity": mark("lots"), "multiplier": mark("× the signal's quantity"),
        "dollar_amount": mark("in money"), "risk_dollar_amount": mark("of risk, in money"),
        "risk_percent": mark("percent of equity at risk"), "percent_of_equity": mark("percent of equity"),
        "percent_of_position": mark("percent of the position"), "equity_ratio": mark("by equity"),
        "block_equal": mark("a block in equal parts"), "block_net_liq": mark("a block by equity"),
        "block_available": mark("a block by what is free"), "block_ratio": mark("a block by shares"),
        "rotate": mark("in turn"), "random": mark("at random"), "fixed": mark("fixed"),
        "crypto": mark("crypto"), "stock": mark("stocks"), "future": mark("futures"), "option": mark("options"),
        "report": mark("tell"), "correct": mark("correct"), "halt": mark("halt the account"),
        "skip": mark("skip"), "raise": mark("raise"), "cut": mark("cut"), "down": mark("down"),
        "nearest": mark("to the nearest"), "up": mark("up"), "conservative": mark("conservative"),
        "with_unrealised": mark("with unrealised profit"), "without_unrealised": mark("without unrealised profit"),
        "strategy": mark("of the strategy"), "account": mark("of the account"), "refuse": mark("refuse"),
        "repair": mark("repair"), "standard_webhooks": mark("signed webhooks"), "tradingview": mark("TradingView"),
    },
    "setting": LABELS,
}  # fmt: skip
"""Group → value → message id."""
