"""Release: bundles, cards, verification, signatures, the Hub, ONNX.

`bundle` lays it out, `card` writes the page about it, `evidence` quotes what `evaluate` found;
`stored` chooses the precision and says what it costs, `verify` reads it back in a fresh process;
`signature`, `archive` and `hub` carry it, `sources` finds it again.
"""
