"""The napari plugin of FuseCPath: it shows what the engine has made and asks it for more."""

from __future__ import annotations
