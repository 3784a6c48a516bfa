"""Three squares to paint, and what a store says of its own."""

from __future__ import annotations

from src_core.review.marks import MarkStore

__all__ = ["A", "B", "C", "labels"]

A, B, C = (0.0, 0.0, 256.0, 256.0), (256.0, 0.0, 256.0, 256.0), (512.5, 0.25, 256.0, 256.0)


def labels(store: MarkStore) -> dict[tuple[float, ...], str]:
    return {mark.square: mark.label for mark in store.current()}
