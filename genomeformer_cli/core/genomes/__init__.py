"""Genomes: where they come from, what is known of them, and their records.

`genome` says what a genome is and keeps it in the cache; `fasta` reads records; `local` imports a
user's own files; `sample` installs the genomes that ship with the package.
"""
