"""NCBI: listing, selecting and downloading assemblies.

`assembly` holds the metadata of one assembly; `datasets` queries NCBI Datasets (metadata only);
`summaries` and `taxdump` serve the same queries from the files of the genomes area when Datasets is
unreachable; `catalogue` caches results in SQLite; `selection` filters and ranks; `paths` builds
URLs; `install` downloads one assembly into the cache.
"""
