-- Redisson's RLock: a hash whose one field is the owner, counting how often it has entered.
-- KEYS  1 lock, 2 record, 3 receipts, 4 the fair lock's queue, 5 its time-outs

local function owner_now()
  local fields = redis.call('HKEYS', KEYS[1])
  for _, field in ipairs(fields) do
    if field == ARGV[1] then
      return field
    end
  end
  return fields[1]
end

local function write(owner, expiry)
  redis.call('HSET', KEYS[1], owner, 1)
  redis.call('PEXPIRE', KEYS[1], expiry)
end

-- Errors of PUBLISH (an ACL without the channel) must not end a script that has already written. Clients of a Cluster
-- listen on the sharded channel alone; a message that nobody needed does no harm.
local function say(channel)
  redis.pcall('PUBLISH', channel, '0')
  redis.pcall('SPUBLISH', channel, '0')
end

-- A fair lock's release is told to the first of its queue alone.
local function untold()
  return redis.pcall('EXISTS', KEYS[4]) == 1
end

-- The waiters of a fair lock listen each on a channel of its own, and only the first may take the lock. One whose time is
-- over may be dead: whoever asks next takes it out, so the one behind it is told as well.
local function wake(channel)
  say(channel)
  local time = redis.call('TIME')
  local now_ms = time[1] * 1000 + time[2] / 1000
  local queue = redis.pcall('LRANGE', KEYS[4], 0, 99)
  for _, waiter in ipairs(queue.err and {} or queue) do
    say(channel .. ':' .. waiter)
    local score = redis.pcall('ZSCORE', KEYS[5], waiter)
    if type(score) ~= 'string' or tonumber(score) > now_ms then
      break
    end
  end
end

