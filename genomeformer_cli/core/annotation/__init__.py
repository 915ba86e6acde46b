"""From annotation to labelled windows: what a stretch of a genome is, by what its annotators say.

`gff` and `genbank` read features with parsers of others (the extra `annotation`); `reading` puts
them together with sequence; `tracks` and `candidates` find windows whose label is beyond doubt;
`sampling` and `table` choose and write them.
"""
