"""Claims about ops/ on real servers and processes."""
