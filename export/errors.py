"""What an export refuses, and why."""


class ExportError(ValueError):
    """The export did not happen and left nothing behind; the message says why and what to do."""


class TargetError(ExportError, FileExistsError):
    """Something that must not be overwritten stands where the export was to be written."""


class VerificationError(ExportError):
    """An exported file failed checks; ``report`` holds every check with what it found."""

    def __init__(self, message: str, report: object = None):
        super().__init__(message)
        self.report = report
