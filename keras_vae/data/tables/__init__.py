"""Tables with columns of several kinds: read, inferred, and written again."""
