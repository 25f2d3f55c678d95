"""``fsslib bench``: speed on this machine, measured and printed, never asserted."""
