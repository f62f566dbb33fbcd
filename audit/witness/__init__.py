"""A witness (C2SP tlog-witness): it signs that a log only ever grew. Stands without the rest of us."""
