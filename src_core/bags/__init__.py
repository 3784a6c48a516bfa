"""From patches and clusters to what a model trains on: selections, cohorts and bags."""

from src_core.bags.selection import cluster_share_log_weights, covering_bags, select_bags

__all__ = ["cluster_share_log_weights", "covering_bags", "select_bags"]
