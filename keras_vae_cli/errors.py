"""The error of a call that cannot be served."""


class ConfigError(ValueError):
    """A config, run folder or call that cannot be used; the message says what is wrong and what to do."""
