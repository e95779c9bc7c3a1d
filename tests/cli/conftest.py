import signal

import pytest

from keras_vae_cli.main import main


@pytest.fixture
def ended(capfd, monkeypatch):
    """Run the command line in this process: its exit code, and what it wrote to stdout and stderr."""
    # The command ends at SIGTERM as at Ctrl-C, and so would the tests.
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def call(*arguments):
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        written = capfd.readouterr()
        assert "Traceback" not in written.err
        return end.value.code, written.out, written.err

    return call
