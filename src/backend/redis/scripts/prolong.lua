-- Sets a one-shot lease, up or down; a lease that a command holds is only ever prolonged.
-- KEYS  1 lock, 2 queue, 3 receipts
-- ARGV  1 owner token, 2 ttl ms or '' for what it was acquired with, 3 prefix of the channels
-- returns {1, ttl ms, now µs} set, {2} held by a running command, nothing shortened, {0} not ours

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local value = redis.pcall('GET', KEYS[1])
local owner, phase, ttl, words =
  string.match(type(value) == 'string' and value or '', '^([0-9a-f]+) dlock/1 exclusive (%S+) %d+ (%d+)([^{]*)')
if owner ~= ARGV[1] or not (phase == 'running' or phase == 'one-shot' or phase == 'revoked') then
  return { 0 }
end
if ARGV[2] ~= '' then
  ttl = ARGV[2]
end
local expiry = ttl + (tonumber(string.match(words, ' delay=(%d+)') or '') or 0)
local left = redis.call('PTTL', KEYS[1])
if left >= expiry and phase ~= 'one-shot' then
  return { 2 }
end
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', expiry))
if left > expiry then
  -- Waiters remember the end that they saw, and would take a lock that is gone before it for one that vanished.
  redis.call('ZADD', KEYS[3], string.format('%.0f', now_us / 1000), redis.sha1hex(owner) .. ':shortened')
  redis.call('PEXPIRE', KEYS[3], 60000)
  local head = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
  if head then
    redis.pcall('PUBLISH', ARGV[3] .. head, 'look')
  end
end
return { 1, tonumber(ttl), now_us }
