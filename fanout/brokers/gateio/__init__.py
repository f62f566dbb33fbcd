"""Gate.io futures: the adapter for https://api.gateio.ws, API v4."""
