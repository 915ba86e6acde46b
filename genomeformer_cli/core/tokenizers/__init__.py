"""From bases to token ids and back.

`protocol` says what a tokenizer is; `char`, `kmer` and `bpe` are the three; `files` saves and loads
them.
"""
