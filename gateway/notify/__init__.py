"""Telling people and their programs what happened: webhooks and e-mail."""
