"""Embedding: sequences to vectors.

`options` configures, `windows` cuts and batches, `features` selects layers, `pooling` pools
windows, `batch_runner` runs batches, and `embedder` combines these. `workers` runs several
embedders; `vector_writer` writes resumable arrays; `formats` writes other file types; `projection`
projects rows onto a plane; `module` is a trainable torch module.
"""
