"""Inference on all cores: worker threads and the cost of batches."""
