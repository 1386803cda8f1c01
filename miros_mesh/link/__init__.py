"""The client of a broker: moves opaque bytes, confirmed and acknowledged."""
