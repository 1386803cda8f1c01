"""`miros-mesh demo`: two charts in two processes, what they say, and the books at the end."""
