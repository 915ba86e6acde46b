"""One use case per file: frozen request to frozen result, for commands and programs."""
