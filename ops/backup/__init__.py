"""Backups that lose nothing that was acknowledged: base backups, a synchronous WAL archive, restores, drills.

PostgreSQL's own tools do the work (pg_basebackup, pg_receivewal, pg_verifybackup, pg_archivecleanup); ours is
the order in which they are called and what is checked in between (docs/adr/0017). Start with layout.py.
"""
