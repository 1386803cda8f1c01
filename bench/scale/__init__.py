"""`make bench ARGS=scale`: what grows how, along five axes, each of them a module."""
