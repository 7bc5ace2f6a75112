-- The holder's renewal: never lowers the expiry, never makes a lease anew.
-- KEYS  1 lock
-- ARGV  1 owner token, 2 ttl ms
-- returns {1, now µs} renewed, {2, now µs} renewed and revoked, {0, now µs} not ours

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local value = redis.pcall('GET', KEYS[1])
local owner, phase, words = string.match(type(value) == 'string' and value or '', '^([0-9a-f]+) dlock/1 exclusive (%S+) ([^{]*)')
if owner ~= ARGV[1] or not (phase == 'running' or phase == 'one-shot' or phase == 'revoked') then
  return { 0, now_us }
end
local expiry = ARGV[2] + (tonumber(string.match(words, ' delay=(%d+)') or '') or 0)
if redis.call('PTTL', KEYS[1]) < expiry then
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', expiry))
end
return { phase == 'revoked' and 2 or 1, now_us }
