"""The demo: the service's main job on embedded parts, in a directory of its own."""
