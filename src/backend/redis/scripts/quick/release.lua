-- Gives up an exclusive lease that leaves nothing behind (no word stands between its fence and what the holder says of
-- itself), as most do, and offers the lock to the next who waits, if that is one who lives and wants it alone: what
-- release.lua does then, straight on. A server makes each function of a script anew whenever it runs, and hashes every byte.
-- KEYS  as in head.lua
-- ARGV  1 owner token, 2 prefix of the channels
-- returns 1 released; 2 nothing is done: ask release.lua

local RECEIPT_MS = 60000
local CONFIRM_MS = 3000
-- What is looked at of a text that anybody may have written.
local BOUND = 8192
local call, pcall = redis.call, redis.pcall
local value = pcall('GET', KEYS[1])
if type(value) == 'table' and not string.find(value.err, 'WRONGTYPE', 1, true) then
  -- Not allowed to look, or no master to ask: whose it is remains unknown, which is no answer about the owner.
  return value
end
local text = type(value) == 'string' and string.sub(value, 1, BOUND) or ''
local owner, phase = string.match(text, '^([0-9a-f]+) dlock/1 exclusive (%S+) %d+ %d+ %d+ {')
if owner ~= ARGV[1] or (phase ~= 'running' and phase ~= 'one-shot' and phase ~= 'revoked')
  or call('HLEN', KEYS[7]) > 0 then
  return 2
end
local time = call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now_ms = math.floor(now_us / 1000)
local waiter, ttl, holder, offers, ear, channel = call('ZRANGE', KEYS[2], 0, 0)[1]
if waiter then
  channel = ARGV[2] .. waiter
  local entry = string.sub(call('HGET', KEYS[4], waiter) or '', 1, BOUND)
  ttl, holder = string.match(entry, '^dlock/1 exclusive %d+ (%d+) (.*)$')
  local ends
  ends, offers, ear = string.match(string.sub(call('HGET', KEYS[3], waiter) or '', 1, BOUND), '^(%d+) (%d+) (%a+)$')
  if waiter == ARGV[1] or not ttl or not ends or tonumber(ends) < now_ms or tonumber(offers) >= 2 then
    return 2
  end
  if ear == 'listens' or ear == 'sharded' then
    local listeners = pcall('PUBSUB', ear == 'sharded' and 'SHARDNUMSUB' or 'NUMSUB', channel)
    -- An error: whoever may not ask who listens leaves it to leases alone.
    if not listeners.err and tonumber(listeners[2]) == 0 then
      return 2
    end
  end
  offers = ends .. ' ' .. string.format('%d', offers + 1) .. ' ' .. ear
end
call('DEL', KEYS[1])
call('ZREMRANGEBYSCORE', KEYS[5], '-inf', string.format('%.0f', now_ms - RECEIPT_MS))
call('ZREMRANGEBYRANK', KEYS[5], 0, -1000)
call('ZADD', KEYS[5], string.format('%.0f', now_ms), redis.sha1hex(ARGV[1]) .. ':released')
call('PEXPIRE', KEYS[5], RECEIPT_MS)
if waiter then
  call('HSET', KEYS[3], waiter, offers)
  local words = { waiter, 'dlock/1 exclusive offered', string.format('%.0f', now_us), ttl, '0', holder }
  call('SET', KEYS[1], table.concat(words, ' '), 'PX', math.min(tonumber(ttl), CONFIRM_MS))
  -- An error (an ACL without the channel) must not end a script that has already written.
  pcall(ear == 'sharded' and 'SPUBLISH' or 'PUBLISH', channel, 'look')
end
return 1
