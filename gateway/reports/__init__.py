"""Reports over a period: who was early and who late, what trading cost; as values, CSV and pictures."""
