"""What keeps discovery alive: payloads are checked where they enter, dead charts run again."""
