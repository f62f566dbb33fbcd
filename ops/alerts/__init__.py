"""Alert rules for Prometheus, and what their expressions may name. What to do: docs/operating/alerts/."""
