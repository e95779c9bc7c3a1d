"""Checks on examples of the data, beside those on the requests of the battery."""
