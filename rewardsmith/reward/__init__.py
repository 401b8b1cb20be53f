"""Rewards: the dialect, the locked-down process that calls them, the probe."""
