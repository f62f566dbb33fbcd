"""Tenants in a hurry, exchanges in a mood."""
