-- Reads many keys at once; writes nothing.
-- KEYS  for each key: lock, queue, leases, waiters, holders
-- ARGV  1 the most waiters shown for a key
-- returns {now µs, {value, kind, expiry ms, ms for which sharers live, {owner token, lease, entry, …}}, …}
--         kind  1: a string, 0: another type, whose name stands for the value, -1: no such key

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local reply = { now_us }

local function field(key, name)
  local text = redis.pcall('HGET', key, name)
  return type(text) == 'string' and text or ''
end

for at = 1, #KEYS, 5 do
  local lock = KEYS[at]
  local value = redis.pcall('GET', lock)
  local kind = 1
  if not value then
    value, kind = '', -1
  elseif type(value) == 'table' then
    value, kind = redis.call('TYPE', lock).ok, 0
  end
  local shared = 0
  local holders = redis.pcall('HVALS', KEYS[at + 4])
  for _, entry in ipairs(holders.err and {} or holders) do
    local ends = tonumber(string.match(entry, '^(%d+) ') or '')
    if ends then
      shared = math.max(shared, math.floor(ends - now_us / 1000))
    end
  end
  local waiters = {}
  local queue = redis.pcall('ZRANGE', KEYS[at + 1], 0, ARGV[1] - 1)
  for _, waiter in ipairs(queue.err and {} or queue) do
    table.insert(waiters, waiter)
    table.insert(waiters, field(KEYS[at + 2], waiter))
    table.insert(waiters, field(KEYS[at + 3], waiter))
  end
  table.insert(reply, { string.sub(value, 1, 8192), kind, redis.call('PTTL', lock), shared, waiters })
end
return reply
