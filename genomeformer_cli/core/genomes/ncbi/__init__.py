"""NCBI: listing, selecting and downloading assemblies.

`assembly` says what is known of one; `datasets` asks NCBI Datasets (metadata only); `summaries`
and `taxdump` answer the same questions from the files of the genomes area when Datasets is out of
reach; `catalogue` keeps answers in a small database; `selection` filters and ranks; `paths` knows
where files lie; `install` brings one assembly into the cache.
"""
