"""Training objectives: `masked`, `causal` and `surrounding` prediction of bases."""
