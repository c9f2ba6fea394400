"""`report.html`: one file that shows what a run did."""

from pathlib import Path

from sfumato.data import Track, untracked


def write_report(folder: Path, track: Track = untracked) -> Path:
    """Writes the report of a run's folder."""
    path = folder / "report.html"
    path.write_text("", encoding="utf-8")
    return path
