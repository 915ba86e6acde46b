"""Attention mechanisms, one per file: a pure function, its plain reference and a module."""
