-- Opens every script that grants or gives up: time, the value's parts, receipts.
-- KEYS  1 lock, 2 queue, 3 leases, 4 waiters, 5 receipts, 6 fence, 7 holders

local DAY_MS = 86400000
local RECEIPT_MS = 60000
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now_ms = math.floor(now_us / 1000)

-- tostring() would write a number of this size as 1.79e+15.
local function digits(number)
  return string.format('%.0f', number)
end

-- owner, mode, phase of a value of version 1; nil of any other.
local function parts(value)
  local owner, mode, phase = string.match(value or '', '^([0-9a-f]+) dlock/1 (%S+) (%S+) ')
  if owner and #owner == 32 then
    return owner, mode, phase
  end
end

local function has_receipt(token, kind)
  return redis.call('ZSCORE', KEYS[5], redis.sha1hex(token) .. ':' .. kind)
end

local function write_receipt(token, kind)
  redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', digits(now_ms - RECEIPT_MS))
  redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -1000)
  redis.call('ZADD', KEYS[5], digits(now_ms), redis.sha1hex(token) .. ':' .. kind)
  redis.call('PEXPIRE', KEYS[5], RECEIPT_MS)
end

-- Milliseconds for which holders of a shared lock or of slots still live, whatever became of their marker.
local function shared_for()
  local longest = 0
  for _, entry in ipairs(redis.call('HVALS', KEYS[7])) do
    local ends = tonumber(string.match(entry, '^(%d+) ') or '')
    if ends and ends - now_ms > longest then
      longest = ends - now_ms
    end
  end
  return longest
end

-- Makes `token` the holder and returns its fencing token, which is stored first: a script that fails half-way (out of
-- memory) may waste a number, never grant without one.
local function grant(token, ttl, expiry, phase, holder)
  local last = tonumber(redis.call('GET', KEYS[6]) or '') or 0
  local fence = math.max(last + 1, now_us)
  redis.call('SET', KEYS[6], digits(fence), 'PX', digits(DAY_MS + ttl))
  local value = token .. ' dlock/1 exclusive ' .. phase .. ' ' .. digits(now_us) .. ' ' .. ttl .. ' ' .. digits(fence)
  redis.call('SET', KEYS[1], value .. ' ' .. holder, 'PX', expiry)
  return fence
end
