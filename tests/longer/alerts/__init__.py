"""Every alert, fired by a real fault: a Prometheus with our rules beside an installation that breaks."""
