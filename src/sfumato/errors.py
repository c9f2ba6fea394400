"""What goes wrong, said in one sentence.

`BadInput` is a user's mistake: the message names the file, key or number at fault and what
would work; the command line prints it alone and exits with status 2.
`Failed` is the machine's or the run's: status 1.
"""

import difflib
from collections.abc import Iterable


class SfumatoError(Exception):
    """The root of every error raised on purpose here."""


class BadInput(SfumatoError, ValueError):
    """Something given by the user cannot work; the message says what would."""


class Failed(SfumatoError, RuntimeError):
    """Something that should have worked did not."""


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for a mistyped name: the nearest known one, or the list of all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
