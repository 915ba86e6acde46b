"""From annotation to labelled windows: what a stretch of a genome is, by what its annotators say.

`gff` and `genbank` (by gb-io, the extra `annotation`) read features; `reading` puts
them together with sequence; `tracks` and `candidates` find windows whose label is beyond doubt;
`sampling` and `table` choose and write them.
"""
