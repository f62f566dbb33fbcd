"""The figures, each beside the same machine's floor in the same run."""
