"""What a model is trained to do. `masked`: predict hidden bases."""
