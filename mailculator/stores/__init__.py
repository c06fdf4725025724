"""Queues. `base` is the interface, `registry` knows the backends; a backend is imported only when it is used."""
