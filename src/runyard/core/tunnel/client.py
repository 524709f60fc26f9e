"""How to reach a machine."""

from runyard.tunnels import LocalTunnel, SSHTunnel, Tunnel

__all__ = ["LocalTunnel", "SSHTunnel", "Tunnel"]
