"""A real sshd on this machine, and what can go wrong on the way to it."""
