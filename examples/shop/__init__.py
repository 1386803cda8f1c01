"""A shop of three services and a web front, each in a process of its own.

`messages` is what they say to each other; `order`, `payment` and `shipping` are their charts; `web`
is the front. `python -m shop` runs them all, buys something, and ends one of them amid that.
"""
