-- Follows a layout's own functions. Takes the lock back from one owner: a mark in the record that a dlock has left, where
-- a command runs under it, else at once.
-- ARGV  1 owner, 2 channel, 3 'now' to free it whatever runs, else ''
-- returns 2 the mark stands, 1 freed, 0 that owner holds nothing, and nothing was done

local read, owner = pcall(owner_now)
if not read or owner ~= ARGV[1] then
  return 0
end
local record = redis.pcall('HGET', KEYS[2], owner)
local phase, words = string.match(type(record) == 'string' and record or '', '^dlock/1 exclusive %d+ (%S+)([^{]*)')
-- Where nothing but the delay is left the lease is over.
local delay = tonumber(string.match(words or '', ' delay=(%d+)') or '') or 0
local runs = (phase == 'running' or phase == 'revoked') and (delay == 0 or redis.call('PTTL', KEYS[1]) > delay)
if ARGV[3] == '' and runs then
  -- Written into what is there: the expiry stays.
  local marked = string.gsub(record, '^(dlock/1 exclusive %d+) %S+', '%1 revoked', 1)
  redis.call('HSET', KEYS[2], owner, marked)
  return 2
end
redis.call('DEL', KEYS[1], KEYS[2])
wake(ARGV[2])
return 1
