"""The public listener: strategy webhooks, nothing else."""
