"""Labelled windows of a genome, by its annotation.

`reading` puts features and sequence together, `fitting` in the same coordinates, and `intake`
counts them; `tracks` and `candidates` find windows whose label is beyond doubt; `sampling` and
`table` choose and write them.
"""
