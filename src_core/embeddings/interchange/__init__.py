"""Embeddings as TRIDENT, CLAM and STAMP keep them, and squares as QuPath does.

:mod:`.files` tells which of them a file is from and reads it into a
:class:`~src_core.embeddings.interchange.records.PatchFile` or a
:class:`~src_core.embeddings.interchange.records.SlideVector`, :mod:`.place` lays it on a slide, and
:mod:`.trident` writes. Nothing that a file says is believed before it fits the slide.
"""
