"""A simulator of Gate.io's USDT-perpetual futures API v4, honest enough to trade on.

Written from Gate's documentation and the official `gate-api` package, never from our adapter, so
that the two can disagree. It imports nothing of ours.

| files | what |
| --- | --- |
| `server`, `connection`, `ws/` | HTTP and WebSocket on a port |
| `gateway`, `auth`, `limits`, `faults`, `mood` | a request's way: who, how often, what goes wrong |
| `endpoints`, `call`, `rest/` | paths and what answers them; a new product adds its ENDPOINTS there |
| `views`, `account_views`, `market_views` | the venue's objects as JSON |
| `orders`, `rules`, `exchange`, `matching`, `amending`, `book` | an order's life |
| `positions`, `ledger`, `contracts` | who holds what |
| `triggers`, `trails`, `countdown` | what waits for a price or for the clock |
| `control`, `control_client` | for tests, demo, chaos and the auditor |

Not here: funding, liquidation, split positions (dual_plus), self-trade prevention, chase orders,
candles. Everything is in memory: a restart starts empty.
"""
