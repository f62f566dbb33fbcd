"""A scripted SinoPac: what `shioaji` 1.7 shows of it, with matching, limits, session hours and faults.

Written from the SDK's stubs and SinoPac's documentation; it imports nothing of ours.

    exchange.py   orders, matching, events
    showing.py    accounts, contracts, orders; and events as the SDK shows them
    limits.py     what SinoPac counts: operations, connections, logins; and who was too fast
    faults.py     what goes wrong, by rule or by seed
    objects.py    the SDK's values as plain Python: trades, positions, margins
    sdk.py        the module that stands where `shioaji` stands
    wire.py       the same over a Unix socket, for a session in a process of its own
    __main__.py   python -m loadtest.exchanges.shioaji --socket PATH
"""
