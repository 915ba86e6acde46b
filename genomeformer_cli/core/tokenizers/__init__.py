"""Tokenizers: bases to token ids and back.

`protocol` is the interface; `char`, `kmer` and `bpe` implement it; `files` saves and loads them.
"""
