"""The core: everything genomeformer does, without a terminal. It never prints; it reports through a `Reporter`."""
