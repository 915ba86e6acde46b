"""Evaluation: held-out likelihood, count tables, probes, neighbourhoods, variants.

Held-out bases: `held_out_sequences` cuts windows and `masked_queries` selects bases; `likelihood`
scores a model, `counts` and `markov` score tables, `held_out_scores` scores all of them;
`token_scores` and `model_ranking` compute means with intervals. Labelled sequences: `tasks` reads
them, `kmers` counts k-mers, `probes` and `neighbourhood` measure vectors, `probe_metrics` computes
metrics of probes, `probing` compares the vectors of models. `base_likelihood` and `variants` are
used by `score`.
"""
