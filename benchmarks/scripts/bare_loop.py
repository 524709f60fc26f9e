"""What any launcher has to pay: N shells that echo, so many at a time: bare_loop.py N AT_ONCE."""

import subprocess
import sys

count, at_once = int(sys.argv[1]), int(sys.argv[2])
running: list[subprocess.Popen[bytes]] = []
for n in range(count):
    if len(running) == at_once:
        running.pop(0).wait()
    running.append(subprocess.Popen(["bash", "-c", f"echo {n}"], stdout=subprocess.DEVNULL))
for process in running:
    process.wait()
