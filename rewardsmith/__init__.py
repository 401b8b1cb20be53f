"""rewardsmith: reward functions written by a language model, trained, measured and improved."""

__version__ = "0.1.0"
