-- Opens every script that grants or gives up: time, and the lock as it is stored.
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

-- The lock as it stands; whoever changes it keeps this true.
--   value, owner, mode, phase   the string at the main key and its parts
--   generation                  which marker `holders` belongs to
--   stored                      the number of fields in `holders`, those of ended leases included
--   last_end                    of a marker: when the longest lease of its holders ends
local lock = { value = redis.pcall('GET', KEYS[1]), stored = redis.call('HLEN', KEYS[7]) }

-- Makes `token` the one holder, whatever stands in the way.
local function set_alone(token, mode, phase, ttl, fence, expiry, holder)
  local words = { token, 'dlock/1', mode, phase, digits(now_us), ttl, digits(fence), holder }
  lock.value, lock.owner, lock.mode, lock.phase = table.concat(words, ' '), token, mode, phase
  redis.call('SET', KEYS[1], lock.value, 'PX', digits(expiry))
  if lock.stored > 0 then
    redis.call('DEL', KEYS[7])
    lock.stored, lock.generation = 0, nil
  end
end
