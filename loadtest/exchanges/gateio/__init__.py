"""A simulator of Gate.io's USDT-perpetual futures API v4, honest enough to trade on.

Written from Gate's documentation and the official `gate-api` package, never from our adapter, so
that the two can disagree. It imports nothing of ours.

Files: `server` and `connection` (HTTP), `gateway` (a request's way through it), `auth`, `limits`,
`faults` (what guards, counts and breaks requests), `endpoints` (paths), `orders` and `views` (JSON
in and out), `exchange` (the venue), `book`, `ledger`, `contracts`, `control` and `control_client`
(for tests, demo, chaos and the auditor).

Spot is in the files `spot_*`, sharing users, keys, limits and faults with futures (`routes` joins both).

Not here: the WebSocket channels, hedge (dual) mode, funding, liquidation, price-triggered
orders, amend. Everything is in memory: a restart starts empty.
"""
