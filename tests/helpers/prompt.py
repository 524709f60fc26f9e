"""Executes blocks of Python that arrive on standard input, as if they were typed at a prompt.

Started by ``code_blocks.py`` with ``replies``, a file descriptor that gets a 1 or a 0 for each block.
"""

import json
import linecache
import os
import sys
import traceback

import __main__

replies = globals()["replies"]

for request in sys.stdin:
    where, text = json.loads(request)
    linecache.cache[where] = (len(text), None, text.splitlines(keepends=True), where)
    ok = True
    try:
        exec(compile(text, where, "exec"), vars(__main__))
    except SystemExit as stop:
        ok = not stop.code
    except BaseException:
        traceback.print_exc()
        ok = False
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(replies, b"1" if ok else b"0")
