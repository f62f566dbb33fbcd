"""What every proof of a Gate.io key asks: signed questions whose answers are final, or nothing.

Shared by the provers of futures and spot. A refusal on Gate's word is Refusal; what is unclear is
Unavailable, and is asked again. Asking changes nothing at Gate.
"""

from __future__ import annotations

import msgspec

from fanout.brokers.gate import keys, labels
from fanout.brokers.gate import request as wire
from fanout.brokers.gate.client import GateClient, NoAnswer, NotSent
from fanout.brokers.gate.reading import Answer, Unreadable, label_of
from fanout.brokers.gate.venue_time import Departure, exptime
from fanout.ports import BrokerAccount
from fanout.proof import NotProven, Proof
from hsm.errors import SealBroken, SigningRefused, TokenRefused
from tenancy.errors import UNREADABLE, Unavailable

_NEVER_SIGNED = (SealBroken, SigningRefused, TokenRefused)


class Refusal(Exception):
    """The key is not taken: carries why."""

    def __init__(self, proof: NotProven) -> None:
        super().__init__(proof.words)
        self.proof = proof


class Questions:
    """Signed questions about one key."""

    def __init__(self, client: GateClient) -> None:
        self._client = client

    async def scopes(self, account: BrokerAccount, needed: str, *, unified: bool = False) -> Proof:
        """What the key may do, and whether it may be taken for what `needed` names. Raises as ask()."""
        answers = [
            await self.ask(account, request, "scope_unknown")
            for request in (wire.account_detail(), wire.main_keys())
        ]
        for answer in answers:
            check_json(answer)
        try:
            return keys.judged(
                account.api_key or "",
                answers[0].body,
                answers[1].body,
                needed=needed,
                unified=unified,
            )
        except Unreadable as why:
            return NotProven(code="scope_unknown", words=f"what the key may do is unclear: {why}")

    async def ask(
        self,
        account: BrokerAccount,
        request: wire.Request,
        code: str,
        *,
        but: str = "",
        departure: Departure | None = None,
    ) -> Answer:
        """A 2xx answer, or the refusal labelled `but`. Raises Refusal (`code`), Unavailable."""
        try:
            headers = await self._client.sign(account, request)
            if departure is not None:
                headers["X-Gate-Exptime"] = exptime(self._client.time.deadline(departure))
            answer = await self._client.send(request, headers)
        except NotSent as why:
            if isinstance(why.__cause__, _NEVER_SIGNED):
                raise refused("not_signed", str(why)) from why
            raise
        except NoAnswer as why:
            raise Unavailable(f"Gate.io did not answer: {why}") from why
        label, text = label_of(answer)
        if 200 <= answer.status < 300 or (but and label == but):
            return answer
        raise _meaning(answer.status, label, text, code)


def check_json(answer: Answer) -> None:
    """An answer that was cut off or spoilt says nothing; one of another shape says that we do not know
    what the key may do. Raises Unavailable for the first."""
    try:
        msgspec.json.decode(answer.body)
    except UNREADABLE:
        raise Unavailable("Gate.io's answer is no JSON") from None


def _meaning(status: int, label: str, text: str, code: str) -> Exception:
    """What a refusal says of the key: final by Gate's word, or nothing."""
    said = f"Gate.io: {label}: {text}" if label else f"Gate.io: status {status}"
    unclear = not 400 <= status < 500 or status == 429 or not label
    if unclear or label in labels.TOO_MANY or label in labels.SERVER_FAULT:
        return Unavailable(said)
    kind = labels.AUTH.get(label)
    if kind == "clock":
        return Unavailable(f"{said}: put this host's clock right")
    return refused(kind or code, said)


def refused(code: str, words: str) -> Refusal:
    return Refusal(msgspec.convert({"type": "NotProven", "code": code, "words": words}, NotProven))
