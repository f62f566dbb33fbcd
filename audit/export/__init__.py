"""Records out of the log, for people who do not trust us: chosen, readable, and with their proofs."""
