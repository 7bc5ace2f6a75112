-- python-redis-lock: a string that is the owner, and a list that wakes one BLPOP at a release.
-- KEYS  1 lock, 2 record, 3 receipts, 4 signal

local function owner_now()
  return redis.call('GET', KEYS[1]) or nil
end

local function write(owner, expiry)
  redis.call('SET', KEYS[1], owner, 'PX', expiry)
end

-- Its list wakes whoever takes the element out, which is meant for a waiter of its own.
local function untold()
  return true
end

local function wake()
  redis.pcall('DEL', KEYS[4])
  redis.pcall('LPUSH', KEYS[4], 1)
  redis.pcall('PEXPIRE', KEYS[4], 1000)
end

