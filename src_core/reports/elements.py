"""Pieces of a page, made as a tree: whatever a stranger named is text and never markup."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from src_core.plain_text import printable

__all__ = ["add", "listed", "new_page", "picture", "table", "to_text"]

_PNG = b"\x89PNG\r\n\x1a\n"

_WORDS = 24
"""Longest cell that is kept on one line."""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""The browser itself refuses scripts and whatever lies elsewhere."""


def add(parent: Element, tag: str, text: str = "", /, **attributes: str) -> Element:
    """Append an element with text; ``class_`` is the attribute ``class``."""
    clean = {name.rstrip("_"): printable(value) for name, value in attributes.items()}
    child = SubElement(parent, tag, clean)
    child.text = printable(text)
    return child


def listed(parent: Element, items: Iterable[str], **attributes: str) -> None:
    """Append a list; nothing where there are no items."""
    texts = list(items)
    if texts:
        unordered = add(parent, "ul", **attributes)
        for text in texts:
            add(unordered, "li", text)


def table(
    parent: Element,
    caption: str,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    **attributes: str,
) -> Element:
    """Append a table, of whose rows the first cell is the heading, and return its body."""
    whole = add(add(parent, "div", class_="wide"), "table", **attributes)
    add(whole, "caption", caption)
    top = add(add(whole, "thead"), "tr")
    for text in header:
        add(top, "th", text, scope="col")
    body = add(whole, "tbody")
    for row in rows:
        line = add(body, "tr")
        add(line, "th", row[0], scope="row")
        for text in row[1:]:
            add(line, "td", text, **({"class_": "words"} if len(text) > _WORDS else {}))
    return body


def picture(
    parent: Element, png: bytes, *, caption: str, alt: str, width: int | None = None
) -> None:
    """Append a picture that is part of the page, `width` CSS pixels wide or as it is."""
    if not png.startswith(_PNG):
        raise ValueError("a picture of a report is a PNG")
    figure = add(parent, "figure")
    data = base64.b64encode(png).decode("ascii")
    size = {} if width is None else {"width": str(width)}
    add(figure, "img", src=f"data:image/png;base64,{data}", alt=alt, **size)
    add(figure, "figcaption", caption)


def new_page(title: str, style: str) -> tuple[Element, Element]:
    """Return a new page and its empty body."""
    page = Element("html", {"lang": "en"})
    head = add(page, "head")
    add(head, "meta", charset="utf-8")
    SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY})
    add(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    add(head, "title", title)
    add(head, "style", style)
    return page, add(page, "body")


def to_text(page: Element) -> str:
    """Return the page as text."""
    return "<!DOCTYPE html>\n" + tostring(page, encoding="unicode", method="html") + "\n"
