-- Follows a layout's own functions. Sets a one-shot lease, up or down; a lease that a command holds is only ever prolonged.
-- ARGV  1 owner, 2 ttl ms or '' for what it was acquired with
-- returns {1, ttl ms, now µs} set, {2} held by a running command, nothing shortened, {0} not ours,
--         {3} what it was acquired with is not known any more

local time = redis.call('TIME')
local read, owner = pcall(owner_now)
if not read or owner ~= ARGV[1] then
  return { 0 }
end
local words = words_of(owner)
if is_tombstone(words) then
  return { 0 }
end
local phase, asked = string.match(words, '^dlock/1 exclusive %d+ (%S+) (%d+)')
local ttl = ARGV[2] ~= '' and ARGV[2] or asked
if not ttl then
  return { 3 }
end
local expiry = ttl + (tonumber(string.match(words, ' delay=(%d+)') or '') or 0)
if phase ~= 'one-shot' and redis.call('PTTL', KEYS[1]) >= expiry then
  return { 2 }
end
redis.call('PEXPIRE', KEYS[1], expiry)
redis.call('PEXPIRE', KEYS[2], expiry)
return { 1, tonumber(ttl), time[1] * 1000000 + time[2] }
