"""Embeddings as TRIDENT, CLAM and STAMP keep them.

:mod:`.files` tells which of them a file is from and reads it into a
:class:`~src_core.embeddings.interchange.files.PatchFile` or a
:class:`~src_core.embeddings.interchange.files.SlideVector`, :mod:`.place` lays it on a slide, and
:mod:`.trident` writes. Nothing that a file says is believed before it fits the slide.
"""
