"""Providers that write rewards: language models, a recorded run, the built-in designer."""
