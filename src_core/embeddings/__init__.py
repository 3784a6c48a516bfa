"""Embeddings of patches and slides, made once and kept."""

from src_core.embeddings.extract import (
    embed_patches,
    load_slide_embedding,
    save_slide_embedding,
)
from src_core.embeddings.store import EmbeddingStore, EmbeddingView

__all__ = [
    "EmbeddingStore",
    "EmbeddingView",
    "embed_patches",
    "load_slide_embedding",
    "save_slide_embedding",
]
