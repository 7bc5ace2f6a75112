-- Follows head.lua in every script but that of a lock which is free: the value's parts, receipts, and the lock's owner.

-- What is looked at of a text that anybody may have written: matching half a gigabyte would keep the server busy for seconds.
local function bounded(text)
  return string.sub(text, 1, 8192)
end

-- owner (or generation), mode, phase of a value of version 1; nil of any other.
local function parts(value)
  local text = type(value) == 'string' and bounded(value) or ''
  local owner, mode, phase = string.match(text, '^([0-9a-f]+) dlock/1 (%S+) (%S+) ')
  if owner and #owner == 32 then
    return owner, mode, phase
  end
end

-- The words of a phase whose token owns its lease; `offered` is about to.
local function owns(phase)
  return phase == 'running' or phase == 'one-shot' or phase == 'revoked'
end

local function has_receipt(token, kind)
  local since = redis.call('ZSCORE', KEYS[5], redis.sha1hex(token) .. ':' .. kind)
  -- A lease that was set down is over at its new end, which stands in its receipt.
  return since and (kind ~= 'shortened' or tonumber(since) <= now_ms)
end

local function write_receipt(token, kind, as_of)
  redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', digits(now_ms - RECEIPT_MS))
  redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -1000)
  redis.call('ZADD', KEYS[5], digits(as_of or now_ms), redis.sha1hex(token) .. ':' .. kind)
  redis.call('PEXPIRE', KEYS[5], RECEIPT_MS)
end

lock.owner, lock.mode, lock.phase = parts(lock.value)
if type(lock.value) == 'table' and not string.find(lock.value.err, 'WRONGTYPE', 1, true) then
  -- Not allowed to look, or no master to ask: whose it is remains unknown, which is no answer about the owner.
  return lock.value
end
if lock.stored > 0 then
  lock.generation = redis.call('HGET', KEYS[7], 'generation')
end

-- Takes `waiter` out of the queue, if it is there.
local function leave(waiter)
  redis.call('HDEL', KEYS[3], waiter)
  redis.call('HDEL', KEYS[4], waiter)
  return redis.call('ZREM', KEYS[2], waiter) == 1
end
