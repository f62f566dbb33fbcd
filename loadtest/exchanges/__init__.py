"""Exchange simulators: they speak a broker's wire and can be told to misbehave."""
