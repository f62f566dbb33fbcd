"""The private PostgreSQL, Redis and SoftHSM of a developer's machine: made once, started often.

`create` is one act and `start` another: a start creates nothing that is missing. Nothing of the
system's own servers is touched: own data under `var/`, Unix sockets only, no TCP port.
"""
