"""Tokenizers of other authors' models, read from the files that they published.

`greedy` cuts runs of A C G T into k-mers and single bases, as `EsmTokenizer` does. `windows` takes
k-mers at a fixed step: DNABERT, ProkBERT, GENERator, Carbon, and single characters. `trained` runs
a `tokenizer.json` of the Hugging Face library. `reading` builds each of them from a folder.

Ids are those of the authors' code for sequences of A C G T and N. Letters are read by the rule of
`core.sequence` everywhere: lower case is the same base, `U` is `T`, every other code is `N`.
"""
