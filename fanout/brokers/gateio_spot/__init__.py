"""Gate.io spot: the adapter for https://api.gateio.ws, API v4, classic accounts, no margin."""
