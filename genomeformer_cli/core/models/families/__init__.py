"""Model families of other authors: their configurations, tensors and tokenizers."""
