"""`python -m ops.dashboards`: write each dashboard's JSON beside its description."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from ops.dashboards import audit_log, brokers, gateway, host, vault
from ops.dashboards.board import rendered

HERE = Path(__file__).parent
BOARDS = {
    "gateway.json": gateway.BOARD,
    "brokers.json": brokers.BOARD,
    "hsm.json": vault.BOARD,
    "audit.json": audit_log.BOARD,
    "host.json": host.BOARD,
}


def texts() -> dict[str, bytes]:
    """Each file's bytes, by its name: the same every time."""
    return {name: _text(rendered(board)) for name, board in BOARDS.items()}


def _text(made: dict[str, Any]) -> bytes:
    return orjson.dumps(made, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


if __name__ == "__main__":
    for name, text in texts().items():
        (HERE / name).write_bytes(text)
