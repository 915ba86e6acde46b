"""Explanation of models: dependencies between bases, attributions and motifs."""
