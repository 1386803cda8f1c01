"""What joins a node's discovery to its link: settings, the look at an address, what is found."""
