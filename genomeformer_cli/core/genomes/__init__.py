"""Genomes: their sources, their metadata and their cache entries.

`genome` defines a genome and stores it in the cache; `local` imports files; `sample` installs the
genomes that the package contains.
"""
