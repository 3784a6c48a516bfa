"""What reviewers say about patches, and what they should look at next."""
