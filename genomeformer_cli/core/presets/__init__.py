"""Named, complete configurations: a run is a preset, a TOML overlay and a few flags."""
