"""Embedding: sequences to vectors.

`choices` says what is wanted, `windows` cuts and batches, `features` runs the model, `pooling`
makes rows, and `embedder` joins these. `processes` runs several embedders; `rows` writes as it
goes; `formats` makes files of other kinds; `projection` puts rows on a plane; `module` is for
fine-tuning.
"""
