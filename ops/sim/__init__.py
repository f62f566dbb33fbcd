"""Deterministic simulation: the fan-out on simulated time, against a seeded, misbehaving broker.

    loop.py      an event loop whose time jumps, with hosts that can die, freeze and be set wrong
    postgres.py  a real PostgreSQL in memory, whose now() is the simulated one
    database.py  the product's Database over connections that can break at any statement
    venue.py     the exchange: books, positions, deadlines
    adapter.py   a worker's way to the exchange, with all that can happen on it
    redis.py     wake-ups that can be late, lost or refused
    chance.py    what happens in one seed, drawn before it begins
    world.py     one seed, from an empty database to the auditor's word
    facts.py, judge.py  the auditor; imports nothing of ours
    mutants.py   small breakages of the product, each of which the auditor must find
    run.py       the command

docs/operating/simulation.md says what is simulated and what is not.
"""
