-- Follows a layout's own functions. Gives the lock up if it is the owner's, and wakes who waits for it: also where the lock
-- stays taken for a while, as they know of another end.
-- ARGV  1 owner, 2 channel, 3 'undo' when a request of this owner may still be on its way, else ''
--       4 which words of the grant count: 'until', 'delay', both or neither
-- returns 1 released, 0 not ours

local read, owner = pcall(owner_now)
local words = read and owner == ARGV[1] and words_of(owner)
local mine = words and not is_tombstone(words)
if mine then
  local time = redis.call('TIME')
  local now_ms = math.ceil(time[1] * 1000 + time[2] / 1000)
  local function number(name)
    return string.find(ARGV[4], name, 1, true) and tonumber(string.match(words, ' ' .. name .. '=(%d+)') or '') or 0
  end
  local held, delayed = math.max(number('until') - now_ms, 0), number('delay')
  if held > 0 or delayed > 0 then
    local phase = held > delayed and 'held-at-least' or 'lock-delay'
    local record = string.gsub(redis.call('HGET', KEYS[2], owner), '^(dlock/1 exclusive %d+) %S+', '%1 ' .. phase)
    -- The record last: a server without memory takes it after a write that needs none.
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(held, delayed)))
    redis.call('PEXPIRE', KEYS[2], string.format('%.0f', math.max(held, delayed)))
    redis.call('HSET', KEYS[2], owner, record)
  else
    redis.call('DEL', KEYS[1], KEYS[2])
  end
  wake(ARGV[2])
end
if ARGV[3] == 'undo' then
  local time = redis.call('TIME')
  local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', now_ms - 60000))
  redis.call('ZADD', KEYS[3], string.format('%.0f', now_ms), redis.sha1hex(ARGV[1]) .. ':undone')
  redis.call('PEXPIRE', KEYS[3], 60000)
end
return mine and 1 or 0
