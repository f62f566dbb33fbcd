"""The sender kit: what a customer installs to send signals. It imports nothing of ours (a test sees to it)."""
