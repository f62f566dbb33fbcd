"""A whole installation for a while: what demo, bench and chaos stand on."""
