"""A stub of AI-SPRINT's package, which is on no index: last on the path, so that a real one wins."""
