"""Patch and slide encoders by name, each with a card; importing loads no network library."""

from src_core.encoders.base import PatchEncoder, SlideEncoder
from src_core.encoders.cards import EncoderCard
from src_core.encoders.registry import (
    create_encoder,
    encoder_access,
    encoder_card,
    encoder_problem,
    list_encoders,
    register_encoder,
)

__all__ = [
    "EncoderCard",
    "PatchEncoder",
    "SlideEncoder",
    "create_encoder",
    "encoder_access",
    "encoder_card",
    "encoder_problem",
    "list_encoders",
    "register_encoder",
]
