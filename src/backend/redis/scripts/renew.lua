-- The holder's renewal: never lowers the lease, never makes one anew.
-- KEYS  1 lock; of a lease beside others also 2 holders, 3 receipts
-- ARGV  1 owner token, 2 ttl ms
-- returns {1, now µs} renewed, {2, now µs} renewed and revoked, {0, now µs} not ours

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now_ms = math.floor(now_us / 1000)

-- What another type hides is not ours. Any other error (rights taken away, a replica that lost its master) says nothing
-- about the owner, and ends the script as an error.
local function look(...)
  local reply = redis.pcall(...)
  if type(reply) ~= 'table' or not reply.err then
    return reply
  elseif string.find(reply.err, 'WRONGTYPE', 1, true) then
    return nil
  end
  return redis.call(...)
end

local value = look('GET', KEYS[1])
local owner, mode, phase, words =
  string.match(string.sub(value or '', 1, 8192), '^([0-9a-f]+) dlock/1 (%S+) (%S+) ([^{]*)')

local function owns()
  return phase == 'running' or phase == 'one-shot' or phase == 'revoked'
end

local function lease()
  return ARGV[2] + (tonumber(string.match(words, ' delay=(%d+)') or '') or 0)
end

if mode == 'exclusive' or not KEYS[2] then
  if mode ~= 'exclusive' or owner ~= ARGV[1] or not owns() then
    return { 0, now_us }
  end
  local expiry = lease()
  if redis.call('PTTL', KEYS[1]) < expiry then
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', expiry))
  end
else
  -- One of several: the value is their marker.
  local kept = owner and look('HMGET', KEYS[2], 'generation', ARGV[1]) or {}
  local generation, entry = kept[1], kept[2]
  local ends, rest
  ends, phase, rest, words = string.match(string.sub(entry or '', 1, 8192), '^(%d+) (%S+) (([^{]*).*)$')
  if generation ~= owner or not ends or tonumber(ends) <= now_ms or not owns() then
    return { 0, now_us }
  end
  local until_ms = math.max(tonumber(ends), now_ms + lease())
  -- The marker first, for foreign clients; and a server without memory takes the entry after a write that needs none.
  if redis.call('PTTL', KEYS[1]) < until_ms - now_ms then
    redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', until_ms))
    redis.call('PEXPIREAT', KEYS[2], string.format('%.0f', until_ms))
    redis.call('ZREM', KEYS[3], redis.sha1hex(owner) .. ':shortened')
  else
    redis.call('HDEL', KEYS[2], '')
  end
  redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f', until_ms) .. ' ' .. phase .. ' ' .. rest)
end
return { phase == 'revoked' and 2 or 1, now_us }
