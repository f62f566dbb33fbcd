"""Coming in, against real PostgreSQL."""
