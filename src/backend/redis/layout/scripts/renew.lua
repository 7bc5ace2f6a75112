-- Follows a layout's own functions. The holder's renewal: never lowers the expiry, never makes a lease anew.
-- ARGV  1 owner, 2 ttl ms
-- returns {1, now µs} renewed, {2, now µs} renewed and revoked, {0, now µs} not ours

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local read, owner = pcall(owner_now)
if not read or owner ~= ARGV[1] then
  return { 0, now_us }
end
local words = words_of(owner)
if is_tombstone(words) then
  return { 0, now_us }
end
local expiry = ARGV[2] + (tonumber(string.match(words, ' delay=(%d+)') or '') or 0)
if redis.call('PTTL', KEYS[1]) < expiry then
  redis.call('PEXPIRE', KEYS[1], expiry)
  redis.call('PEXPIRE', KEYS[2], expiry)
end
local record = redis.pcall('HGET', KEYS[2], owner)
local is_revoked = type(record) == 'string' and string.match(record, '^dlock/1 exclusive %d+ revoked ')
return { is_revoked and 2 or 1, now_us }
