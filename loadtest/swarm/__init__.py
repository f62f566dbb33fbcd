"""What the load generator decides, without Locust: arrivals, signals, the search for the knee."""
