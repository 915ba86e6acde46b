"""Readers of input formats: one reader per format, on top of one text layer."""
