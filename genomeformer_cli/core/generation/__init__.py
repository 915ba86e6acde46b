"""Generation of sequences by causal models, and filling of gaps by the others."""
