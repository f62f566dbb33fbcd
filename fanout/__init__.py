"""One signal becomes many orders, each placed at most once."""
