"""How a report looks, on a screen 1366 pixels wide and on paper."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root { color: #1a1a1a; background: #fff; font: 16px/1.5 system-ui, "Segoe UI", sans-serif; }
body { max-width: 66rem; margin: 0 auto; padding: 1rem 1.5rem 4rem; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; margin: 0.5rem 0; }
h2 { font-size: 1.35rem; margin: 2.5rem 0 0.5rem; padding-top: 1rem; }
h2 { border-top: 2px solid #0072b2; }
h3 { font-size: 1.1rem; margin: 1.5rem 0 0.5rem; }
.use { font-weight: 600; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.25rem 1.5rem; padding: 0; list-style: none; }
a { color: #00568a; }
.caution { background: #fff4d6; border-left: 5px solid #b35900; padding: 0.6rem 1rem 0.6rem 2rem; }
table { border-collapse: collapse; margin: 1rem 0 1.5rem; font-size: 0.95rem; }
caption { text-align: left; color: #444; padding-bottom: 0.3rem; }
th, td { padding: 0.25rem 0.9rem 0.25rem 0.4rem; border-bottom: 1px solid #ddd; text-align: left; }
th { font-weight: 600; vertical-align: top; min-width: 4.6rem; }
thead th { overflow-wrap: break-word; }
.matrix thead th { overflow-wrap: anywhere; }
tbody th { font-weight: 400; min-width: 6.5rem; }
td { font-variant-numeric: tabular-nums; vertical-align: top; white-space: nowrap; }
td.words { white-space: normal; }
.matrix { font-size: 0.85rem; }
.matrix th, .matrix td { min-width: 3.2rem; padding-right: 0.3rem; }
.wide { overflow-x: auto; }
figure { margin: 1.5rem 0; }
img { display: block; max-width: 100%; height: auto; }
figcaption { color: #444; font-size: 0.9rem; max-width: 52rem; }
@media print {
  :root { font-size: 11pt; }
  body { max-width: none; padding: 0; }
  nav { display: none; }
  figure, tr, .caution { break-inside: avoid; }
  h2, h3, caption { break-after: avoid; }
  td { print-color-adjust: exact; }
}
"""
