"""Dead letters: what charts or brokers refused, kept with the reason for people to look at."""
