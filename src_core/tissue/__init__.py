"""Where the tissue is on a slide."""

from src_core.tissue.mask import TissueMask
from src_core.tissue.segment import TissueConfig, blank_mask, segment_tissue

__all__ = ["TissueConfig", "TissueMask", "blank_mask", "segment_tissue"]
