"""Paper: orders that trade against a price and nobody else."""
