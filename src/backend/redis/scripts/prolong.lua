-- Sets a one-shot lease, up or down; a lease that a command holds is only ever prolonged.
-- KEYS  as in head.lua
-- ARGV  1 owner token, 2 ttl ms or '' for what it was acquired with, 3 prefix of the channels
-- returns {1, ttl ms, now µs} set, {2} held by a running command, nothing shortened, {0} not ours

local me, WAKE = ARGV[1], ARGV[3]
local sharer = is_marked() and sharer_of(me)
local phase, ttl, words
if sharer then
  phase = sharer.phase
  ttl, words = string.match(sharer.rest, '^%d+ (%d+)([^{]*)')
elseif lock.owner == me and lock.mode == 'exclusive' then
  phase, ttl, words = string.match(lock.value, '^%S+ %S+ %S+ (%S+) %d+ (%d+)([^{]*)')
end
if not ttl or not owns(phase) then
  return { 0 }
end
if ARGV[2] ~= '' then
  ttl = ARGV[2]
end
local expiry = ttl + (tonumber(string.match(words, ' delay=(%d+)') or '') or 0)
local left = sharer and sharer.ends - now_ms or redis.call('PTTL', KEYS[1])
if left >= expiry and phase ~= 'one-shot' then
  return { 2 }
end
if sharer then
  enter(me, now_ms + expiry, phase, sharer.rest)
else
  redis.call('PEXPIRE', KEYS[1], digits(expiry))
  if left > expiry then
    -- Waiters remember the end that they saw, and would take a lock that is gone before it for one that vanished.
    shorten(me, now_ms + expiry)
  else
    redis.call('ZREM', KEYS[5], redis.sha1hex(me) .. ':shortened')
  end
end
if left > expiry then
  local first = advance(nil, nil, WAKE)
  if first then
    hint(first, WAKE)
  end
end
return { 1, tonumber(ttl), now_us }
