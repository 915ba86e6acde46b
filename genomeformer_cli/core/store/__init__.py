"""The local cache: genomes, vocabularies, corpora, runs and weights, complete and verified.

`atomic` writes a file or a folder so that it is there whole or not at all; `seal` records and
checks the checksums of a folder; `layout` names the places, holds the locks, and lists, verifies
and removes entries.
"""
