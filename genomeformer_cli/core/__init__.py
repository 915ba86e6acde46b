"""The core: everything except the terminal. It never prints; events go to a `Reporter`."""
