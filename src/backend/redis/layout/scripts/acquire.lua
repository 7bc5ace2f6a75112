-- Follows a layout's own functions. Data of another type make the first read fail, before anything is written.
-- ARGV  1 owner, 2 first expiry ms, 3 phase and ttl, 4 words and holder data
-- returns {'granted', now µs}
--         {'undone'}                                       the owner was released before this request arrived
--         {'held', owner, expiry ms, now µs, record,       expiry -1: none
--          1 when a release would not be told to us, else 0}

local time = redis.call('TIME')
local now_us = string.format('%.0f', time[1] * 1000000 + time[2])
local owner = owner_now()
if redis.call('ZSCORE', KEYS[3], redis.sha1hex(ARGV[1]) .. ':undone') then
  return { 'undone' }
end
if owner and owner ~= ARGV[1] then
  local record = redis.pcall('HGET', KEYS[2], owner)
  return {
    'held',
    string.sub(owner, 1, 8192),
    redis.call('PTTL', KEYS[1]),
    tonumber(now_us),
    type(record) == 'string' and string.sub(record, 1, 8192) or '',
    untold() and 1 or 0,
  }
end
-- `hold=<ms>` counts from now on.
local words = string.gsub(ARGV[4], '^hold=(%d+)', function(ms)
  return string.format('until=%.0f', math.ceil(now_us / 1000) + ms)
end)
-- The record first: without memory for it nothing is taken.
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], ARGV[1], 'dlock/1 exclusive ' .. now_us .. ' ' .. ARGV[3] .. ' ' .. words)
redis.call('PEXPIRE', KEYS[2], ARGV[2])
write(ARGV[1], ARGV[2])
return { 'granted', tonumber(now_us) }
