-- Reads many keys at once; writes nothing.
-- KEYS  for each key: lock, queue, leases, waiters, holders
-- ARGV  1 the most waiters and the most sharers shown for a key
-- returns {now µs, {value, kind, expiry ms, generation, {owner token, entry, … of sharers}, {owner token, lease, entry, …
--         of waiters}}, …}
--         kind  1: a string, 0: another type, whose name stands for the value, -1: no such key

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local reply = { now_us }

-- The reply, or nil where the key is of another type; any other error is the script's.
local function look(...)
  local reply = redis.pcall(...)
  if type(reply) ~= 'table' or not reply.err then
    return reply
  elseif string.find(reply.err, 'WRONGTYPE', 1, true) then
    return nil
  end
  return redis.call(...)
end

-- As much of a text that anybody may have written as is shown of it.
local function bounded(text)
  return string.sub(text, 1, 8192)
end

for at = 1, #KEYS, 5 do
  local lock = KEYS[at]
  local value = look('GET', lock)
  local kind = 1
  if value == false then
    value, kind = '', -1
  elseif value == nil then
    value, kind = redis.call('TYPE', lock).ok, 0
  end
  local generation, sharers = '', {}
  local holders = look('HGETALL', KEYS[at + 4]) or {}
  for pair = 1, #holders, 2 do
    local ends = tonumber(string.match(bounded(holders[pair + 1]), '^(%d+) ') or '')
    if holders[pair] == 'generation' then
      generation = bounded(holders[pair + 1])
    elseif ends and ends > now_us / 1000 and #sharers < 2 * ARGV[1] then
      table.insert(sharers, bounded(holders[pair]))
      table.insert(sharers, bounded(holders[pair + 1]))
    end
  end
  local waiters = {}
  for _, waiter in ipairs(look('ZRANGE', KEYS[at + 1], 0, ARGV[1] - 1) or {}) do
    table.insert(waiters, bounded(waiter))
    table.insert(waiters, bounded(look('HGET', KEYS[at + 2], waiter) or ''))
    table.insert(waiters, bounded(look('HGET', KEYS[at + 3], waiter) or ''))
  end
  table.insert(reply, { bounded(value), kind, redis.call('PTTL', lock), generation, sharers, waiters })
end
return reply
