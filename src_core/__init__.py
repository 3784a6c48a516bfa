"""The engine of napari-fusecpath: from slides to predictions, without a window.

The stages are folders in the order of the data: ``slides``, ``tissue``, ``patches``,
``encoders``, ``embeddings``, ``clustering``, ``bags``, ``models``, ``review``, ``training``,
``inference``. Importing the package loads neither Qt nor torch.
"""

__version__ = "0.1.0"

RESEARCH_USE = "For research use only. Not a medical device; not for diagnosis or treatment."
"""What every result says of itself."""
