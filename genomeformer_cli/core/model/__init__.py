"""The encoder: `config` (frozen), `blocks` (norm, attention, gated MLP), `encoder` (embedding, blocks, head)."""
