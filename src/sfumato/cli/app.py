"""The verbs, and what happens to the errors of all of them.

Verbs are given by where they stand and imported when they are run; none of their files imports
torch before it has to, so that help and mistakes are answered at once.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from cyclopts import App, CycloptsError

from sfumato import __version__
from sfumato.cli.output import Interrupted, say
from sfumato.errors import BadInput, SfumatoError

FAILED, BAD_INPUT, RESUMABLE, INTERRUPTED = 1, 2, 75, 130
DEBUG = "SFUMATO_DEBUG"

EXAMPLES = """\
Examples:

    sfumato train faces
    sfumato sample runs/faces -n 16 --out faces.png

Every verb has its own --help.
"""

app = App(
    name="sfumato",
    help="Train diffusion models on your own data, and draw from them.",
    help_epilogue=EXAMPLES,
    help_format="plaintext",
    version=__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.command("sfumato.cli.train:train", help="Train a model by a recipe.")
app.command("sfumato.cli.sample:sample", help="Draw samples from a model.")
app.command("sfumato.cli.info:info", help="Say what a model is.")
app.command("sfumato.cli.doctor:doctor", help="Say what this machine has, and what pays on it.")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line, and ends the process with its status.

    Args:
        arguments: the words after `sfumato`; None: those of this process.
    """
    sys.exit(guarded(lambda: app(arguments, print_error=False, exit_on_error=False)))


def guarded(command: Callable[[], object]) -> int:
    """Runs a command; whatever goes wrong becomes one sentence and an exit status."""
    try:
        command()
    except (CycloptsError, BadInput) as error:
        return _failed(error, BAD_INPUT)
    except SfumatoError as error:
        return _failed(error, FAILED)
    except Interrupted as interruption:
        say(str(interruption))
        return RESUMABLE
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, which is no fault of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        name = type(error).__name__
        return _failed(f"{name}: {error} (run with {DEBUG}=1 for the traceback)", FAILED)
    return 0


def _failed(error: object, status: int) -> int:
    say(f"error: {' '.join(str(error).split())}")
    return status
