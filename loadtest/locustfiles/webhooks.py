"""Strategies that send signed signals at a constant rate; how many of them, the search decides (knee.py).

What is counted is the time from the intended start to the answer: waiting for the answer before is in it.
"""

from __future__ import annotations

import os
import ssl
import time
from random import random
from uuid import uuid4

import msgspec
from locust import FastHttpUser, task

from loadtest.swarm.arrivals import Arrivals
from loadtest.swarm.run import Sent, the_run
from loadtest.swarm.strategy import Strategy, receipt

RUN = the_run()
NAME = "webhook"
"""Of the statistics that the search reads."""
ANSWER_WITHIN_S = 10.0
_strategies = [Strategy(hook.hook_id, hook.secret) for hook in RUN.hooks]
_senders = [0] * len(_strategies)
_notes = (RUN.directory / f"sent-{os.getpid()}.jsonl").open("ab")


def trusting() -> ssl.SSLContext:
    """Exactly the installation's own authority."""
    return ssl.create_default_context(cafile=str(RUN.authority))


class StrategyUser(FastHttpUser):
    """One sender, of one strategy; two share one only where there are more senders than strategies."""

    host = RUN.ingress
    insecure = False
    ssl_context_factory = staticmethod(trusting)
    network_timeout = connection_timeout = ANSWER_WITHIN_S

    def on_start(self) -> None:
        self._place = self._free_place()
        self._strategy = _strategies[self._place]
        _senders[self._place] += 1
        self._arrivals = Arrivals(time.monotonic(), per_s=RUN.pace_per_s, chance=random())

    def on_stop(self) -> None:
        _senders[self._place] -= 1

    def _free_place(self) -> int:
        """A strategy without a sender, if there is one; of those one that no other process takes before ours."""
        index = self.environment.runner.worker_index
        places = range(len(_strategies))
        return min(places, key=lambda n: (_senders[n], n % RUN.generators != index, n))

    def wait_time(self) -> float:
        return self._arrivals.wait_s(time.monotonic())

    @task
    def send(self) -> None:
        """What is due. Right after its start nothing may be yet."""
        if self._arrivals.wait_s(time.monotonic()) > 0:
            return
        intended, unix_s = self._arrivals.take(), time.time()
        late_s = time.monotonic() - intended
        message = self._strategy.next(f"msg_{uuid4().hex}")
        with self.client.post(
            f"/v1/hooks/{self._strategy.hook_id}",
            data=message.body,  # ASCII, as json.dumps writes it: the bytes that were signed
            headers=self._strategy.headers(message, unix_s),
            name=NAME,
            catch_response=True,
        ) as response:
            took_s = time.monotonic() - intended
            response.request_meta["response_time"] = took_s * 1000
            status, signal_id = receipt(response.status_code, response.content)
            if signal_id is None:
                response.failure(f"answered {status}" if status else "no answer that can be read")
            told_when = "retry-after" in (response.headers or ())
        self._strategy.answered(message, status)
        _note(
            Sent(
                message_id=message.message_id, body=message.body, status=status,
                signal_id=signal_id, hook_id=self._strategy.hook_id,
                intended_at=unix_s - late_s, sent_at=unix_s, took_s=took_s, told_when=told_when,
            )
        )  # fmt: skip


def _note(line: Sent) -> None:
    """Written before the next signal leaves: a generator that dies takes no accepted signal with it."""
    _notes.write(msgspec.json.encode(line) + b"\n")
    _notes.flush()
