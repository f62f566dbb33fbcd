"""HTTP in, signals onward."""
