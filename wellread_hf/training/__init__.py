"""Training: masks, losses, trainers."""
