"""What Gate.io futures and spot share: signing client, Gate's own time, labels, key scopes. No adapter."""
