"""What a running host shows, by the way that Prometheus goes: discovery, then each page, over TLS."""

from __future__ import annotations

import json
import ssl
import urllib.request
from pathlib import Path

from ops.alerts.expressions import of_page

SHOWN = {
    "portcullis_partitions_held", "portcullis_switch_stops", "portcullis_disk_free_bytes",
    "portcullis_certificate_expiry_timestamp_seconds", "portcullis_audit_looked_timestamp_seconds",
    "portcullis_audit_append_seconds_bucket", "portcullis_hsm_up", "portcullis_clock_state",
    "process_start_time_seconds",
}  # fmt: skip
"""Some of what each kind of process alone can know."""


def scraped(url: str, authority: Path, processes: set[str]) -> dict[str, frozenset[str]]:
    """All pages' series and their labels; exactly `processes` are listed, at the address that was asked."""
    trusted = ssl.create_default_context(cafile=str(authority))

    def read(path: str) -> bytes:
        with urllib.request.urlopen(f"{url}{path}", context=trusted, timeout=20) as answer:
            body: bytes = answer.read()
            return body

    listed = json.loads(read("/metrics/targets"))
    assert {one["labels"]["process"] for one in listed} == processes
    assert {at for one in listed for at in one["targets"]} == {url.removeprefix("https://")}
    shown: dict[str, frozenset[str]] = {}
    for one in listed:
        shown |= of_page(read(one["labels"]["__metrics_path__"]).decode())
    return shown
