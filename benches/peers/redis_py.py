"""redis-py's Lock around a command: redis_py.py PORT KEY TTL COMMAND [ARG...]"""

import subprocess
import sys

import redis

port, key, ttl, *command = sys.argv[1:]
client = redis.Redis(port=int(port))
with client.lock(key, timeout=float(ttl)):
    status = subprocess.call(command)
sys.exit(status)
