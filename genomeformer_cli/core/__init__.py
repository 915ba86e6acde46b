"""Everything genomeformer does, without a terminal: it never prints, it tells a `Reporter`."""
