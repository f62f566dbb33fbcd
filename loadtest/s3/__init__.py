"""A strict double of S3 with Object Lock: it refuses what AWS refuses, and can be told to lie."""
