"""Captions and labels written beside pictures: `metadata.csv`, `metadata.jsonl`, or `x.txt`.

A metadata file has a column `file_name` (relative to its own folder), usually one `text` (the
caption), and any others, each of which may be asked for as the label. Errors name file and line.
"""

import csv
import io
import json
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath

from sfumato.data.scan import Found, Listing
from sfumato.errors import BadInput, nearest

NAME, TEXT = "file_name", "text"
Row = Mapping[str, str]
Rows = Mapping[str, Row]


def read_rows(listing: Listing) -> Rows:
    """The rows of all metadata files, by the name of the picture they speak of.

    Raises:
        BadInput: naming file and line, if a row cannot be read, speaks of a file that is not
            there, or of one already spoken of.
    """
    names = {file.name for file in listing.pictures}
    rows: dict[str, Row] = {}
    for file in listing.metadata:
        for line, row in READERS[Path(file.path).suffix](file.path):
            name = _picture(file, row, names, f"{file.path}, line {line}")
            if name in rows:
                raise BadInput(f"{file.path}, line {line}: {name} is listed twice: keep one row")
            rows[name] = row
    return rows


def read_captions(listing: Listing, rows: Rows) -> list[str] | None:
    """A caption for each picture: its row's `text`, else its sidecar, else `""`.

    Returns:
        `None` if no picture has one.
    """
    captions = [_caption(file.name, listing.sidecars, rows) for file in listing.pictures]
    return captions if any(captions) else None


def _caption(name: str, sidecars: Mapping[str, Found], rows: Rows) -> str:
    row, sidecar = rows.get(name, {}), sidecars.get(name.rpartition(".")[0])
    if TEXT in row:
        return row[TEXT]
    return "" if sidecar is None else _decoded(sidecar.path).strip()


def _decoded(path: str) -> str:
    try:
        return Path(path).read_text("utf-8-sig")
    except UnicodeDecodeError as cause:
        raise BadInput(f"{path} is not UTF-8 ({cause.reason} at byte {cause.start})") from None
    except OSError as cause:
        raise BadInput(f"{path} cannot be read: {cause.strerror}") from None


def _picture(file: Found, row: Row, names: Collection[str], where: str) -> str:
    if not row.get(NAME):
        raise BadInput(f"{where}: no {NAME}; its columns are {', '.join(row) or 'none'}")
    own = unicodedata.normalize("NFC", row[NAME].replace("\\", "/"))
    name = str(PurePosixPath(file.name).parent / own)
    if name not in names:
        hint = f" ({nearest(name, names)})" if len(names) <= 1000 else ""
        raise BadInput(f"{where}: {row[NAME]!r} is not among the pictures{hint}")
    return name


def _csv_rows(path: str) -> Iterator[tuple[int, Row]]:
    reader = csv.DictReader(io.StringIO(_decoded(path), newline=""), strict=True)
    try:
        for row in reader:
            if None in row:
                raise BadInput(f"{path}, line {reader.line_num}: more values than columns")
            yield reader.line_num, {key: value or "" for key, value in row.items()}
    except csv.Error as cause:
        raise BadInput(f"{path}, line {reader.line_num}: {cause}") from None


def _json_rows(path: str) -> Iterator[tuple[int, Row]]:
    for line, text in enumerate(_decoded(path).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as cause:
            raise BadInput(f"{path}, line {line}: not JSON ({cause})") from None
        if not isinstance(row, dict):
            raise BadInput(f"{path}, line {line}: give an object such as {{'{NAME}': 'a.png'}}")
        yield line, {key: "" if value is None else str(value) for key, value in row.items()}


READERS = {".csv": _csv_rows, ".jsonl": _json_rows}
