"""Dead letters: what a chart or a broker refused, sealed, with its reason."""
