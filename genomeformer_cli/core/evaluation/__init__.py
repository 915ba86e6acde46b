"""Evaluation: held-out likelihood, count tables, probes, neighbourhoods, variants.

Held-out bases: `texts` and `held_out` fix what is asked, `likelihood` asks a model, `counts` and
`chains` tables, `prediction` all of them; `answers` and `comparison` make scores with intervals of
it. Labelled sequences: `tasks` reads them, `words` counts k-mers, `probes` and `neighbourhood` look
at vectors, `labelled` at those of everyone. `scoring` and `variants` are what `score` does.
"""
