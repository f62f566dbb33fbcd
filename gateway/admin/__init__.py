"""The management listener: one file per resource."""
