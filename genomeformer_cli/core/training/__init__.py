"""The training run: `config`, `schedule`, `optimizer`, `records` (what it tells), `loop`.

`distributed` is the one door to other processes, `line` what those that share rows hand over,
`scale` how many there are, `verdict` what they failed with.
"""
