"""The network: layers, architectures, normalisation, dropout, initial weights."""
