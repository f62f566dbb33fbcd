"""The REST paths of USDT futures, by subject; endpoints.py puts them together."""
