"""The command line: thin, one file a verb; what a verb does is in `sfumato.pipelines`.

Exit status: 0, done; 1, failed; 2, bad input; 75, interrupted and can be taken up again; 130,
interrupted.
"""

from sfumato.cli.app import main

__all__ = ["main"]
