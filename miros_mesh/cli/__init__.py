"""The commands of `miros-mesh`, a module each; `miros_mesh.__main__` runs them."""
