"""Build it, run it, look after it. The roof: nothing of ours imports it."""
