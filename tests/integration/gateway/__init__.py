"""gateway/."""
