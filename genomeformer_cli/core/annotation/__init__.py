"""Labelled windows of a genome, from its annotation.

`reading` combines features and sequence, `fitting` converts coordinates, `intake` counts features;
`base_labels` and `windows` find windows with unambiguous labels; `sampling` and `write` select and
write them.
"""
