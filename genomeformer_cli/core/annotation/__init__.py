"""From annotation to labelled windows: what a stretch of a genome is, by what its annotators say.

`reading` puts features and sequence together, `fitting` in the same coordinates, `intake` counts them; `tracks` and `candidates` find windows whose label is beyond doubt;
`sampling` and `table` choose and write them.
"""
