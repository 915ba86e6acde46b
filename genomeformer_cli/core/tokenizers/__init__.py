"""From bases to token ids and back.

`protocol` says what a tokenizer is, `char` is one, `files` saves and loads them.
"""
