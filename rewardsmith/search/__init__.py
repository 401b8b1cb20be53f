"""What is asked for next: strategies, prompts, and the author that makes candidates of replies."""
