"""genomeformer's own encoder: `config`, `block` (norm, attention, gated MLP) and `encoder`."""
