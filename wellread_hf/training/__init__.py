"""Training: masks, losses, trainers, soft labels."""
