"""Models that read bags of patches: the student, its local branches, teachers and baselines.

Importing the package loads no torch: `config` and `checkpoint_meta` never do, the other modules
when they are imported.
"""
