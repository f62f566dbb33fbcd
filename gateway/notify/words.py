"""What a person reads on a phone or in a chat: a title, a line, and where it leads. Pure.

In two languages. A title is what happened; a line is which account, instrument and order, as far as the reader
may know: amounts, and words of a broker's or a sender's in which amounts may stand, are for whoever may read
orders. Everything is one line without characters that hide something, and cut to a bounded length.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from gateway.admin.event_feed import Event, is_erased
from gateway.admin.event_kinds import ALERTS
from gateway.notify.outcome import Digest, Gap

Language = Literal["en", "zh_Hant"]

TITLES: Mapping[str, tuple[str, str]] = {
    # alerts, by their names (gateway/admin/event_kinds.py)
    "kill_switch": ("Kill switch", "緊急停止開關"),
    "limit_blocked": ("A limit stopped an order", "限額擋下了委託"),
    "order_in_doubt": ("Order in doubt", "委託狀態不明"),
    "doubt_old": ("An order is in doubt for long", "委託狀態長時間不明"),
    "doubt_decided": ("A person decided about an order in doubt", "有人對狀態不明的委託作了決定"),
    "order_rejected": ("The broker refused an order", "券商拒絕了委託"),
    "login_locked": ("Sign-in locked", "登入已鎖定"),
    "credential_failed": ("A broker refused an account's credential", "券商拒絕了帳戶的憑證"),
    "key_due": ("A key is due to be rotated", "有金鑰到期須輪替"),
    "reenrolment_due": ("Secrets are to be enrolled anew", "有機密須重新登錄"),
    "keys_destroyed": ("A tenant's keys are destroyed", "租戶的金鑰已銷毀"),
    "credential_refused": ("A broker's key was not taken", "券商金鑰未被接受"),
    "signing_refused": ("The signer refused to sign", "簽章程序拒絕簽章"),
    "audit_differs": ("The audit log contradicts itself", "稽核紀錄前後矛盾"),
    "audit_halted": ("The audit log is halted", "稽核紀錄已中止"),
    "fills_differ": ("A statement differs from our fills", "對帳單與成交紀錄不符"),
    "drift": ("Book and broker differ", "帳上部位與券商不符"),
    "channel": ("A notification channel needs a look", "通知管道需要查看"),
    # kinds of record
    "signal.accepted": ("Signal accepted", "已接受訊號"),
    "signal.refused": ("Signal refused", "已拒絕訊號"),
    "signal.planned": ("Signal planned", "訊號已排定"),
    "signal.replayed": ("Signal replayed", "訊號已重送"),
    "signal.outcome": ("Signal done", "訊號處理完畢"),
    "order.held": ("Order waits for its price", "委託等待觸價"),
    "order.intent": ("Order to be placed", "即將下單"),
    "order.sent": ("Order sent", "委託已送出"),
    "order.acknowledged": ("Order acknowledged", "委託已受理"),
    "order.fill": ("Order filled", "委託成交"),
    "order.amend": ("Order changed", "委託已修改"),
    "order.cancel": ("Order canceled", "委託已取消"),
    "order.close": ("Order ended", "委託已結束"),
    "order.resolved": ("Doubt about an order resolved", "委託狀態已釐清"),
    "doubt.carried": ("Decision about an order carried out", "對委託的決定已執行"),
    "doubt.voided": ("Decision about an order void", "對委託的決定已失效"),
    "approval.asked": ("Approval asked", "等待核准"),
    "approval.given": ("Approved", "已核准"),
    "approval.refused": ("Approval refused", "未獲核准"),
    "approval.expired": ("Approval expired", "核准已逾期"),
    "admin.change": ("Settings changed", "設定已變更"),
    "login": ("Sign-in", "登入"),
    "hsm.refused": ("The HSM's side refused", "HSM 端拒絕"),
    "key.use": ("Credential used", "憑證使用"),
    "key.rotation": ("Keys rotated", "金鑰輪替"),
    "credential.proven": ("A broker's key works", "券商金鑰可用"),
    "fills.reconciled": ("Fills compared with a statement", "成交已與對帳單核對"),
    "account.reconciled": ("Account compared with its broker", "帳戶已與券商核對"),
    "drift.explained": ("Difference explained", "差異已說明"),
    "drift.corrected": ("Difference corrected", "差異已更正"),
    "drift.closed": ("Difference closed", "差異已結案"),
    "position.adjusted": ("Position adjusted", "部位已調整"),
    # what is no record
    "digest": ("Digest", "摘要"),
    "gap": ("Some records are not told", "部分紀錄未通知"),
    "test": ("Test", "測試"),
}
_ALERT_OF = {alert.kind.value: alert.name for alert in ALERTS if not alert.events}
"""Kinds of which every record is an alert: its title is theirs."""
PLAIN = (
    "side",
    "symbol",
    "code",
    "level",
    "scope",
    "state",
    "broker",
    "name",
    "operation",
    "verdict",
)
"""Facts that say nothing of amounts."""
AMOUNTS = (
    "order_qty",
    "price",
    "last_qty",
    "last_px",
    "cum_qty",
    "words",
    "text",
    "why",
    "ours",
    "theirs",
)
"""Facts with amounts, and words in which some may stand."""
_LABELLED = frozenset({"price", "last_px", "cum_qty", "ours", "theirs"})
TITLE_MOST = 80
LINE_MOST = 300
FACT_MOST = 120


def title(name: str, language: Language = "en") -> str:
    """Of an alert or a kind; a name that is not in the list is its own title."""
    known = TITLES.get(_ALERT_OF.get(name, name))
    return name if known is None else known[language == "zh_Hant"]


def headline(said: Event | Digest | Gap | None, language: Language = "en") -> str:
    """What a message is about, in a few words."""
    if said is None:
        return title("test", language)
    if isinstance(said, Digest):
        return f"{title('digest', language)}: {sum(said.counts.values())}"
    if isinstance(said, Gap):
        return title("gap", language)
    if said.alert is not None and said.alert in TITLES:
        return title(said.alert, language)
    return title(said.kind, language)


def line(said: Event | Digest | Gap | None, language: Language = "en", *, amounts: bool) -> str:
    """What there is to know beside the headline, LINE_MOST characters at most."""
    if said is None:
        return ""
    if isinstance(said, Digest):
        kinds = ", ".join(f"{title(kind, language)} {n}" for kind, n in said.counts.items())
        return cut(f"{said.since[11:16]}-{said.until[11:16]} UTC: {kinds}", LINE_MOST)
    if isinstance(said, Gap):
        return cut(f"{said.first}-{said.last}: {said.why}", LINE_MOST)
    if is_erased(said.facts):
        return ""
    return cut(" · ".join(_parts(said, amounts)), LINE_MOST)


def _parts(event: Event, amounts: bool) -> list[str]:
    parts = [_fact(name, event.facts) for name in PLAIN]
    if amounts:
        parts += [_fact(name, event.facts) for name in AMOUNTS]
    if event.account_id is not None:
        parts.append(event.account_id)
    return [part for part in parts if part]


def _fact(name: str, facts: Mapping[str, Any]) -> str:
    value = facts.get(name)
    if value is None or isinstance(value, (dict, list)):
        return ""
    text = cut(one_line(value), FACT_MOST)
    return f"{name} {text}" if text and name in _LABELLED else text


def place(said: Event | Digest | Gap | None) -> str:
    """The console's page that shows it: a path below /console/, of ids alone."""
    if not isinstance(said, Event):
        return "/console/"
    if said.kind == "kill_switch":
        return "/console/kill-switch"
    signal, proposal = said.facts.get("signal_id"), said.facts.get("proposal")
    if said.kind == "approval.asked":
        if signal:
            return f"/console/approvals/{signal}"
        return f"/console/proposals/{proposal}" if proposal else "/console/approvals"
    return f"/console/signals/{signal}" if signal else "/console/"


def one_line(value: object) -> str:
    """No character that ends a line, hides one or turns its direction."""
    return "".join(c if c.isprintable() else " " for c in str(value)).strip()


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
