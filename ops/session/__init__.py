"""Shioaji's session processes: one for each person, and the process that keeps it (`session-N`)."""
