"""The encoder: `config`, `blocks` (norm, attention, gated MLP), `encoder` (the whole)."""
