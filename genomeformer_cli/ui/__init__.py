"""Everything a person sees: data on stdout, talk on stderr."""
