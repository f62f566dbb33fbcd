"""The commands over the management API: made from its operations, so that none is forgotten."""
