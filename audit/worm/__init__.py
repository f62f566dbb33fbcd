"""Where a log's files lie, written once and read back. One file per kind of store; S3 is issue 6."""
