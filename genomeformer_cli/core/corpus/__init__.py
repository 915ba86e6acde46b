"""Corpora: genomes tokenized once into memory-mapped shards.

`format` is the byte layout, `writer` and `reader` are its two ends, `splits` says who is held out.
"""
