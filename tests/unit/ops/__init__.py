"""Claims about ops/ that need no server."""
