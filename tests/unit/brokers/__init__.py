"""Broker adapters: codecs and phases, one at a time."""
