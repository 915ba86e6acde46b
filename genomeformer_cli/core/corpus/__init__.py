"""Corpora: genomes tokenized once into memory-mapped shards.

`format` is the byte layout, `writer` and `reader` implement it, `splits` assigns the splits.
"""
