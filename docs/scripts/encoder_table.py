"""Write the table of patch encoders in docs/encoders.md from their cards.

python docs/scripts/encoder_table.py
"""

from __future__ import annotations

from pathlib import Path

from src_core.encoders import EncoderCard, encoder_card, list_encoders
from src_core.encoders.import_cards import IMPORT_CARDS

PAGE = Path(__file__).parents[1] / "encoders.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def encoder_table() -> str:
    """Return the table in Markdown, a row for each registered patch encoder."""
    head = ("Name", "Numbers", "Patch", "Network sees", "Precision", "Parameters", "Weights")
    head = (*head, "Licence", "Commercial use")
    rows = [head, ("---",) * len(head)]
    rows += [_row(encoder_card(name)) for name in list_encoders("patch")]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def page_with_table(page: str) -> str:
    """Return the page with its table replaced."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{encoder_table()}\n{END}{after}"


def _row(card: EncoderCard) -> tuple[str, ...]:
    imported = card.name in {one.name for one in IMPORT_CARDS}
    where = "import" if imported else "gated" if card.gated else "open"
    if card.repository is None and not imported:
        where = card.package or "none"
    return (
        f"[{card.name}]({card.source_url})",
        str(card.dim),
        f"{card.patch_px} px" + ("" if card.mpp is None else f" at {card.mpp:g} µm"),
        _seen(card),
        card.precision,
        "-" if card.parameters_m is None else f"{card.parameters_m:,.1f} M",
        where,
        card.licence,
        {True: "yes", False: "no", None: "unclear"}[card.commercial],
    )


def _seen(card: EncoderCard) -> str:
    if card.resize_px is None:
        return f"{card.input_px} px, {card.interpolation}"
    return f"{card.resize_px} px, {card.interpolation}, cropped to {card.input_px}"


if __name__ == "__main__":
    PAGE.write_text(page_with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
