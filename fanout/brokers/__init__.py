"""One folder per broker: settings, wire, client, adapter. The listing is the list; none knows another."""
