"""What the wiring itself shows: room on disks, and until when certificates hold. Base units, bounded labels."""

from __future__ import annotations

from prometheus_client import Gauge

DISK_FREE = Gauge(
    "portcullis_disk_free_bytes",
    "Room left for us on the file system that this place of the installation is on",
    ["place"],
)
DISK_SIZE = Gauge(
    "portcullis_disk_size_bytes",
    "Size of the file system that this place of the installation is on",
    ["place"],
)
CERTIFICATE_EXPIRY = Gauge(
    "portcullis_certificate_expiry_timestamp_seconds",
    "Until when the certificate that this process began with holds (Unix time), the first of its chain to end",
    ["use"],
)
