"""kazoo's Lock around a command: kazoo_lock.py HOST:PORT KEY TTL COMMAND [ARG...]"""

import subprocess
import sys

from kazoo.client import KazooClient

address, key, ttl, *command = sys.argv[1:]
client = KazooClient(address, timeout=float(ttl))
client.start()
with client.Lock(f"/kazoo/{key}"):
    status = subprocess.call(command)
client.stop()
client.close()
sys.exit(status)
