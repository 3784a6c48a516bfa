"""A project's data in the form of other programs, and theirs in a project."""
