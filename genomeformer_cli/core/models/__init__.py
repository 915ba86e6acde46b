"""Model families: one package or module per architecture."""
