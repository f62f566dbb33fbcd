"""What happened, provably. Knows bytes, not orders."""
