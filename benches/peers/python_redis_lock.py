"""python-redis-lock's Lock around a command, renewed: python_redis_lock.py PORT KEY TTL COMMAND [ARG...]"""

import subprocess
import sys

import redis
import redis_lock

port, key, ttl, *command = sys.argv[1:]
# It blocks for as long as it waits, which is longer than the client would wait by itself for an answer.
client = redis.Redis(port=int(port), socket_timeout=None)
with redis_lock.Lock(client, key, expire=int(ttl), auto_renewal=True):
    status = subprocess.call(command)
sys.exit(status)
