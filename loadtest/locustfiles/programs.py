"""A tenant's programs at the management API: what they read and write beside the signals, at a constant rate."""

from __future__ import annotations

import os
import time
from itertools import count
from random import choice, random, randrange
from typing import Any

import msgspec
from locust import FastHttpUser, task

from loadtest.locustfiles.webhooks import ANSWER_WITHIN_S, RUN, trusting
from loadtest.swarm.arrivals import Arrivals
from loadtest.swarm.run import Asked

_made = count()
_notes = (RUN.directory / f"asked-{os.getpid()}.jsonl").open("ab")
_READS = {
    "/v1/signals": 4,
    "/v1/orders": 4,
    "/v1/fills": 2,
    "/v1/positions": 2,
    "/v1/balances": 1,
    "/v1/accounts": 1,
}
_WHICH = [path for path, weight in _READS.items() for _ in range(weight)]


class ProgramUser(FastHttpUser):
    """One program of one tenant: lists, the outcome of a signal each tenth time, a change each twentieth."""

    host = RUN.admin
    insecure = False
    ssl_context_factory = staticmethod(trusting)
    network_timeout = connection_timeout = ANSWER_WITHIN_S
    fixed_count = RUN.api_users
    abstract = RUN.api_users == 0

    def on_start(self) -> None:
        number = next(_made) + self.environment.runner.worker_index
        self._tenant = number % len(RUN.service_keys)
        self._who = {"Authorization": f"Bearer {RUN.service_keys[self._tenant]}"}
        self._arrivals = Arrivals(time.monotonic(), per_s=RUN.api_pace_per_s, chance=random())

    def wait_time(self) -> float:
        return self._arrivals.wait_s(time.monotonic())

    @task(17)
    def list(self) -> None:
        path = choice(_WHICH)
        self._ask("GET", f"{path}?limit=100", f"GET {path}")

    @task(2)
    def outcome(self) -> None:
        found = self._ask("GET", "/v1/signals?limit=20", "GET /v1/signals (20)")
        if found and found["items"]:
            signal = choice(found["items"])["signal_id"]
            self._ask("GET", f"/v1/signals/{signal}/outcome", "GET /v1/signals/{id}/outcome")

    @task(1)
    def change(self) -> None:
        found = self._ask("GET", "/v1/subscriptions?limit=20", "GET /v1/subscriptions")
        if found and found["items"]:
            one = choice(found["items"])["subscription_id"]
            self._ask(
                "PATCH", f"/v1/subscriptions/{one}", "PATCH /v1/subscriptions/{id}",
                json={"priority": randrange(1000)},
            )  # fmt: skip

    def _ask(self, method: str, path: str, name: str, **content: Any) -> Any:
        """The first question of a task counts from its intended start, a further one from the answer before."""
        now = time.monotonic()
        begun = self._arrivals.take() if self._arrivals.next_s <= now else now
        headers = dict(self._who)
        if method == "PATCH":
            headers |= {"If-Match": "*", "Content-Type": "application/merge-patch+json"}
        with self.client.request(
            method, path, name=name, headers=headers, catch_response=True, **content
        ) as response:
            took_s = time.monotonic() - begun
            response.request_meta["response_time"] = took_s * 1000
            status = response.status_code
            intended_at = time.time() - took_s
            line = Asked(tenant=self._tenant, status=status, intended_at=intended_at, took_s=took_s)
            _notes.write(msgspec.json.encode(line) + b"\n")
            _notes.flush()
            if status != 200:
                response.failure(f"answered {status}")
                return None
            return response.json()
