"""The HTML that reports are made of: pictures in the page itself, tables, sections.

Everything that comes from a user's files (class names, sources, reasons) goes through `text`.
"""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any

from PIL import Image, ImageOps

from sfumato.pipelines.samples import grid

LARGEST = 96
"""Pictures with longer sides are shown smaller, so that a page stays below about a megabyte."""

SMALL = 32
"""Up to this side pictures are kept exactly, as PNG; larger ones as WebP, a tenth of the size."""

_TEMPLATE = Template(
    (resources.files("sfumato.pipelines") / "report.html").read_text(encoding="utf-8")
)


def text(value: object) -> str:
    """Any value as HTML that shows it and does nothing else.

    File names may hold bytes that are no text; those become question marks.
    """
    return escape(str(value).encode("utf-8", "replace").decode("utf-8"))


def page(title: str, about: str, summary: str, sections: Iterable[str]) -> str:
    """The whole page; `title` and `about` are plain text, the rest is HTML."""
    body = "\n".join(section for section in sections if section)
    return _TEMPLATE.substitute(title=text(title), about=text(about), summary=summary, body=body)


def section(title: str, lead: str, *parts: str) -> str:
    """A section with a sentence or two that say what there is to see; `lead` is HTML."""
    said = f"<p>{lead}</p>" if lead else ""
    return f"<section><h2>{text(title)}</h2>{said}{''.join(parts)}</section>"


def figure(body: str, caption: str) -> str:
    """Something to look at, and what it is; both HTML."""
    return f"<figure>{body}<figcaption>{caption}</figcaption></figure>"


def row(figures: Iterable[str]) -> str:
    """Figures side by side, where there is room."""
    return f'<div class="row">{"".join(figures)}</div>'


def cells(head: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """A table of figures: `head` names the columns, each row has a name and its cells (HTML)."""
    top = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{text(name)}</th><td>{"</td><td>".join(found)}</td></tr>'
        for name, found in rows
    )
    return f'<div class="wide"><table class="cells"><tr><td></td>{top}</tr>{body}</table></div>'


def facts(rows: Iterable[tuple[str, object]]) -> str:
    """A table of names and values, both plain; those without a value are left out."""
    lines = (
        f'<tr><th scope="row">{text(name)}</th><td>{text(value)}</td></tr>'
        for name, value in rows
        if value not in (None, "")
    )
    return f'<table class="facts">{"".join(lines)}</table>'


def folded(title: str, body: str) -> str:
    """HTML that opens when its title is clicked."""
    return f"<details><summary>{text(title)}</summary>{body}</details>"


def code(source: str) -> str:
    """Plain text as it stands."""
    return f"<pre><code>{text(source)}</code></pre>"


def sheet(images: Sequence[Image.Image], columns: int, target: int, alt: str) -> str:
    """Pictures of one size side by side, the page's own colour between them.

    Args:
        images: the pictures.
        columns: how many stand side by side.
        target: the sheet is enlarged by a whole factor to at most this many pixels across.
        alt: what there is to see, plain.
    """
    images = [_reduced(image) for image in images]
    gap = max(1, max(images[0].size) // 16)
    whole = grid(images, columns, 1, gap)
    black = [Image.new("L", images[0].size)] * len(images)
    whole.putalpha(ImageOps.invert(grid(black, columns, 1, gap).convert("L")))
    whole = ImageOps.crop(whole, gap)  # the margin is the page's business
    return picture(whole, max(1, target // whole.width), alt, max(images[0].size) <= SMALL)


def picture(image: Image.Image, factor: float, alt: str, exact: bool = True) -> str:
    """One picture, shown `factor` times its size; `exact` keeps every pixel as it is."""
    kind, options = ("PNG", {"optimize": True}) if exact else ("WEBP", {"quality": 85})
    file = io.BytesIO()
    image.save(file, kind, **options)
    data = base64.b64encode(file.getvalue()).decode()
    width, height = (round(factor * side) for side in image.size)
    style = ' class="pixels"' if factor > 1 else ""
    return (
        f'<img{style} width="{width}" height="{height}" alt="{text(alt)}" '
        f'src="data:image/{kind.lower()};base64,{data}">'
    )


def duration(seconds: float) -> str:
    """A time span as people say it."""
    minutes, hours = seconds / 60, seconds / 3600
    if minutes < 1.5:
        return f"{seconds:.0f} s"
    if hours < 1.5:
        return f"{minutes:.0f} min"
    if hours < 48:
        return "{} h {} min".format(*divmod(round(minutes), 60))
    return f"{hours / 24:.1f} days"


def plural(count: int, word: str) -> str:
    """`1 step`, `2,000 steps`."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def shown(value: Any) -> str:
    """A setting as a word: yes, no, or itself."""
    return {"True": "yes", "False": "no"}.get(str(value), str(value))


def _reduced(image: Image.Image) -> Image.Image:
    if max(image.size) <= LARGEST:
        return image
    copy = image.copy()
    copy.thumbnail((LARGEST, LARGEST))
    return copy
