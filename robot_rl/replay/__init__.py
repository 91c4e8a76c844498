"""Episodes on disk and transitions in memory."""
