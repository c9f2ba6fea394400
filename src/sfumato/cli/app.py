"""The verbs, and what happens to the errors of all of them.

A verb's file imports torch, and whatever imports it, inside the verb: help and most mistakes are
answered at once.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from sfumato.cli.doctor import doctor
from sfumato.cli.info import info
from sfumato.cli.output import Interrupted, say
from sfumato.cli.sample import sample
from sfumato.cli.train import train
from sfumato.errors import BadInput, SfumatoError

FAILED, BAD_INPUT, RESUMABLE, INTERRUPTED = 1, 2, 75, 130
DEBUG = "SFUMATO_DEBUG"

HELP = """Train diffusion models on your own data, and draw from them.

```
sfumato train faces
sfumato sample runs/faces -n 16 --out faces.png
```

Every verb has its own --help.
"""


def _version() -> str:
    from importlib import metadata  # takes as long as all the rest: only when asked

    return metadata.version("sfumato")


app = App(
    name="sfumato",
    help=HELP,
    help_format="markdown",
    default_parameter=Parameter(negative=(), show_default=False),
    version=_version,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.command(train, sort_key=0)
app.command(sample, sort_key=1)
app.command(info, sort_key=2)
app.command(doctor, sort_key=3)


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
    except UnusedCliTokensError as error:
        return _failed(f"{' '.join(error.unused_tokens or ())}: one word too many", BAD_INPUT)
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
