"""`python -m genomeformer_cli`, the same as `genomeformer`."""

from genomeformer_cli.app import main

main()
