"""What an incident leaves behind on this host, in one archive with sums: read only, masked, honest about gaps."""
