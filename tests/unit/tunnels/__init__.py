"""Tunnels without a network."""
