"""An independent look at what became of every signal: rows, exchange and log, compared.

It imports nothing of ours. It knows the public schema, the exchange's control API and the C2SP
text of a verifier key, and judges by these alone; what it cannot explain is a finding.

    facts.py   what is compared, as plain facts
    read.py    the facts, from PostgreSQL, the exchange, the sender's notes and the log's files
    orders.py  judgements on signals, plans, orders and the exchange. Pure
    trail.py   judgements on the audit records. Pure
"""
