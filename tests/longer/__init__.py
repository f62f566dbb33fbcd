"""What takes too long for every run of the suite, and is done before a release."""
