"""Listeners that show a run elsewhere: TensorBoard, Weights & Biases, trackio."""
