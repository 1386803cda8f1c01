"""The snoop networks: what every chart does, and how every node is."""
