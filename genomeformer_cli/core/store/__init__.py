"""Local cache of genomes, vocabularies, corpora, runs and weights.

`atomic` writes files and folders atomically; `seal` records and verifies the checksums of a folder;
`layout` defines paths and locks, and lists, verifies and removes entries.
"""
