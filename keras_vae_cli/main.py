"""The commands: they parse and check their arguments, then import TensorFlow and hand over."""

import importlib.metadata
import shlex
import sys
from collections.abc import Callable

import cyclopts

from keras_vae_cli import hints, output
from keras_vae_cli.calls import of_files, of_models, of_names, of_runs
from keras_vae_cli.calls.calling import fail, said
from keras_vae_cli.errors import ConfigError

app = cyclopts.App(
    name="keras-vae",
    help="Train, evaluate, draw, use and export variational autoencoders. The first command: `keras-vae train`",
    version=lambda: importlib.metadata.version("keras-vae"),
    suppress_keyboard_interrupt=False,  # its exit code would be that of Ctrl-C, whatever the signal
)
GROUPS: dict[str, tuple[Callable[..., None], ...]] = {
    "Train and judge": (of_runs.train, of_runs.evaluate, of_runs.plot, of_names.compare, of_names.info),
    "Use a trained model": (
        *(of_models.sample, of_models.encode, of_models.reconstruct, of_models.impute, of_models.interpolate),
        *(of_models.score, of_models.explore, of_files.ids, of_files.decode, of_files.compress),
        *(of_files.decompress, of_runs.export),
    ),
    "Look up": (of_names.parts,),
}
# Commands with several operands.
OF_MANY = (
    *("encode", "reconstruct", "impute", "interpolate", "score"),
    *("explore", "ids", "decode", "compress", "decompress", "compare"),
)
for place, (title, commands) in enumerate(GROUPS.items()):
    group = cyclopts.Group(title, sort_key=place)
    for command in commands:
        app.command(command, group=group)
app.command(of_names.make_configs(group))
app.register_install_completion_command(help="Install completion for the shell that is running.", add_to_startup=True)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line.

    The exit code is 0, 1 for a failure, 2 for a wrong call or config, 130 for Ctrl-C, 143 for SIGTERM and 129 for the
    SIGHUP of a terminal that is closed.
    """
    if arguments is None:
        output.in_utf8()
    with output.lasting():
        try:
            given = sys.argv[1:] if arguments is None else arguments
            _check_verb(given)
            _check_operands(given)
            app(arguments)
        except ConfigError as error:
            fail(str(error), 2)
        except OSError as error:
            fail(said(error), 1)
        except KeyboardInterrupt as error:
            fail("Interrupted.", getattr(error, "code", 130))


def _check_verb(arguments: list[str]) -> None:
    """Of a verb that other programs have, say ours; what only looks like one of ours, cyclopts finds."""
    word = arguments[0] if arguments else ""
    if word.lower() in hints.VERBS and word not in app:
        raise ConfigError(
            f'There is no command "{word}". Did you mean "{hints.VERBS[word.lower()]}"? All of them: keras-vae --help'
        )


def _check_operands(arguments: list[str]) -> None:
    """Behind -- stands what is no option though it begins with a dash: of most commands one folder or config."""
    if arguments[:1] and arguments[0] in OF_MANY:
        return
    if "--" in arguments and len(arguments) > arguments.index("--") + 2:
        at = arguments.index("--")
        right = [*arguments[:at], *arguments[at + 2 :], "--", arguments[at + 1]]
        raise ConfigError(f"What stands behind -- is no option: keras-vae {shlex.join(right)}")
