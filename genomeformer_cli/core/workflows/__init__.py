"""One use case a file: a frozen Request in, a frozen Result out, for commands and programs."""
