"""Consoles that are open in browsers: each listens to its tenant's event stream, and comes back where it was.

Counted is the time from what an event tells (its `at`) to its arrival, so clocks have to agree: one host.
"""

from __future__ import annotations

import json
import time
from datetime import datetime
from itertools import count

from locust import FastHttpUser, constant, task

from loadtest.locustfiles.webhooks import RUN, trusting
from loadtest.swarm.sse import Reader

STREAM = "/v1/events?kinds=signal,order,change,alert"
"""As gateway/console/static/console.js asks."""
BACK_AFTER_S = 2
"""As the stream's own `retry` says."""
SILENCE_MOST_S = 40.0
_made = count()


class ConsoleUser(FastHttpUser):
    """One browser."""

    host = RUN.admin
    insecure = False
    ssl_context_factory = staticmethod(trusting)
    network_timeout = connection_timeout = SILENCE_MOST_S
    fixed_count = RUN.streams
    abstract = RUN.streams == 0
    wait_time = constant(BACK_AFTER_S)

    def on_start(self) -> None:
        key = RUN.service_keys[next(_made) % len(RUN.service_keys)]
        self._who = {"Authorization": f"Bearer {key}"}
        self._last_id = ""

    def stop(self, force: bool = False) -> bool:
        """At once: a stream has no end to wait for."""
        return bool(super().stop(force=True))

    @task
    def listen(self) -> None:
        """Until the stream ends."""
        headers = self._who | ({"Last-Event-ID": self._last_id} if self._last_id else {})
        with self.client.get(
            STREAM, name="stream opened", headers=headers, stream=True, catch_response=True
        ) as response:
            if response.status_code != 200:
                response.failure(f"answered {response.status_code}")
                return
        reader = Reader()
        while line := response.stream.readline(b"\n"):
            event = reader.line(line.decode().rstrip("\n"))
            self._last_id = reader.last_id
            if event is not None:
                self._told(event.data)

    def _told(self, data: str) -> None:
        late_s = time.time() - datetime.fromisoformat(json.loads(data)["at"]).timestamp()
        self.environment.events.request.fire(
            request_type="SSE", name="event", response_time=max(0.0, late_s * 1000),
            response_length=len(data), exception=None, context={},
        )  # fmt: skip
