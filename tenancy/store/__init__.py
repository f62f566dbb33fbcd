"""The SQL of each object; one file per object."""
