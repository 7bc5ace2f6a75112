"""The libraries of Python behind the line protocol of tests/interop/redis_driver.py."""

import logging
import sys
import time

import redis
import redis_lock

library, url = sys.argv[1:]
# It warns of every lock that it did not get.
logging.disable(logging.WARNING)
# Its own default would end a BLPOP that waits for longer.
client = redis.Redis.from_url(url, socket_timeout=None)


class RedisPy:
    """redis-py's own Lock."""

    def __init__(self, key, ttl_ms):
        self.lock = client.lock(key, timeout=ttl_ms / 1000 if ttl_ms else None, thread_local=False)

    def take(self, wait):
        return self.lock.acquire(blocking=wait)

    def give(self):
        try:
            self.lock.release()
            return True
        except redis.exceptions.LockError:
            return False


class PythonRedisLock:
    """python-redis-lock."""

    def __init__(self, key, ttl_ms):
        self.lock = redis_lock.Lock(client, key, expire=max(1, ttl_ms // 1000) if ttl_ms else None)

    def take(self, wait):
        return self.lock.acquire(blocking=wait)

    def give(self):
        try:
            self.lock.release()
            return True
        except redis_lock.NotAcquired:
            return False


kind = {"redis-py": RedisPy, "python-redis-lock": PythonRedisLock}[library]
held = {}


def contend(key, ttl_ms, path, seconds):
    count, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        lock = kind(key, ttl_ms)
        if not lock.take(True):
            continue
        with open(path, "a", buffering=1) as marks:
            marks.write("enter library\n")
            time.sleep(0.003)
            marks.write("leave library\n")
        lock.give()
        count += 1
    return count


print("ready", flush=True)
for line in sys.stdin:
    verb, key, *rest = line.split()
    if verb in ("lock", "try"):
        held[key] = kind(key, int(rest[0]))
        answer = "yes" if held[key].take(verb == "lock") else "no"
    elif verb == "unlock":
        answer = "yes" if held[key].give() else "lost"
    else:
        answer = str(contend(key, int(rest[0]), rest[1], float(rest[2])))
    print(answer, flush=True)
