-- Follows a layout's own functions. Reads, and writes nothing.
-- ARGV  1 empty
-- returns {now µs, kind, owner, expiry ms, record}
--         kind  1: held, 0: data of another type, whose name stands for the owner, -1: free

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local read, owner = pcall(owner_now)
if not read then
  return { now_us, 0, redis.call('TYPE', KEYS[1]).ok, redis.call('PTTL', KEYS[1]), '' }
elseif not owner then
  return { now_us, -1, '', 0, '' }
end
local record = redis.pcall('HGET', KEYS[2], owner)
return {
  now_us,
  1,
  string.sub(owner, 1, 8192),
  redis.call('PTTL', KEYS[1]),
  type(record) == 'string' and record or '',
}
