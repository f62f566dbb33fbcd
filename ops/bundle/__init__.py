"""`portcullis bundle`: one signed archive that hosts without internet are installed from, and its check."""
