"""Grafana's dashboards: described in Python, written as JSON beside it. `python -m ops.dashboards` writes them."""
