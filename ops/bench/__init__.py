"""The floors and the figures."""
