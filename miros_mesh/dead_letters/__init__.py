"""Dead letters for people: what was refused, why, and how to put it back."""
