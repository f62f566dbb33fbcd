"""Draw the console's icons: `python -m ops.icons` writes them into gateway/console/static/.

The same portcullis as icon.svg (a grid of 32 × 32), drawn by its distance from the nearest bar, so that an edge is
as smooth as a pixel can tell. The same input gives the same pixels; how zlib packs them is its affair.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

Plane = np.ndarray[Any, np.dtype[np.float64]]

STATIC = Path(__file__).parents[1] / "gateway" / "console" / "static"
GREEN = (0x0B, 0x5D, 0x56)
WHITE = (0xFF, 0xFF, 0xFF)
BARS = (
    ((8, 13), (8, 26)), ((24, 13), (24, 26)), ((13, 8), (13, 26)), ((19, 8), (19, 26)),
    ((8, 14.5), (24, 14.5)), ((8, 20.5), (24, 20.5)),
)  # fmt: skip
ARCH, RADIUS, STROKE, CORNER = (16, 13), 8.0, 2.2, 7.0
SAFE = 0.72
"""Of a maskable icon: the drawing stays within the circle that every mask leaves (W3C, 80 % of the width)."""

ICONS = {
    "icon-192.png": ("rounded", 192), "icon-512.png": ("rounded", 512),
    "icon-maskable-192.png": ("full", 192), "icon-maskable-512.png": ("full", 512),
    "icon-180.png": ("full", 180), "badge-96.png": ("bare", 96),
}  # fmt: skip
"""`rounded`: on a tile with round corners; `full`: the tile fills the square; `bare`: white on nothing."""


def drawn(shape: str, size: int) -> bytes:
    """Pixels, RGBA, row by row."""
    step = 32 / size
    at = (np.arange(size) + 0.5) * step
    x, y = np.meshgrid(at, at)
    scale = SAFE if shape == "full" else 1.0
    bars = _cover((_bars((x - 16) / scale + 16, (y - 16) / scale + 16) - STROKE / 2) * scale, step)
    tile = {"rounded": _cover(_tile(x, y), step), "full": np.ones_like(x)}.get(
        shape, np.zeros_like(x)
    )
    pixels = np.empty((size, size, 4))
    for channel in range(3):
        pixels[..., channel] = GREEN[channel] * (1 - bars) + WHITE[channel] * bars
        if shape == "bare":
            pixels[..., channel] = WHITE[channel]
    pixels[..., 3] = 255 * (bars if shape == "bare" else tile)
    return np.rint(pixels).astype(np.uint8).tobytes()


def _bars(x: Plane, y: Plane) -> Plane:
    """Distance from the middle of the nearest bar or the arch."""
    distances = [_bar(x, y, *bar) for bar in BARS]
    round_arch = np.abs(np.hypot(x - ARCH[0], y - ARCH[1]) - RADIUS)
    distances.append(np.where(y <= ARCH[1], round_arch, np.inf))
    nearest: Plane = np.minimum.reduce(distances)
    return nearest


def _bar(x: Plane, y: Plane, a: tuple[float, float], b: tuple[float, float]) -> Plane:
    dx, dy = b[0] - a[0], b[1] - a[1]
    along = np.clip(((x - a[0]) * dx + (y - a[1]) * dy) / (dx * dx + dy * dy), 0, 1)
    distance: Plane = np.hypot(x - a[0] - along * dx, y - a[1] - along * dy)
    return distance


def _tile(x: Plane, y: Plane) -> Plane:
    """Distance from the edge of the round tile; negative inside."""
    dx, dy = np.abs(x - 16) - (16 - CORNER), np.abs(y - 16) - (16 - CORNER)
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    edge: Plane = outside + np.minimum(np.maximum(dx, dy), 0) - CORNER
    return edge


def _cover(distance: Plane, step: float) -> Plane:
    """How much of a pixel is inside, 0 to 1."""
    cover: Plane = np.clip(0.5 - distance / step, 0, 1)
    return cover


def png(size: int, pixels: bytes) -> bytes:
    """PNG (ISO 15948), 8-bit RGBA, no filter."""
    rows = b"".join(b"\0" + pixels[at : at + size * 4] for at in range(0, len(pixels), size * 4))
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 6, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def main() -> None:
    """Write all of them."""
    for name, (shape, size) in ICONS.items():
        (STATIC / name).write_bytes(png(size, drawn(shape, size)))


if __name__ == "__main__":
    main()
