"""Where arrays are kept, in memory or on disk, and what is made once and kept for later runs."""
