-- Opens every script that grants or gives up: time, the value's parts, receipts, and the lock as it stands.
-- KEYS  1 lock, 2 queue, 3 leases, 4 waiters, 5 receipts, 6 fence, 7 holders

local DAY_MS = 86400000
local RECEIPT_MS = 60000
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now_ms = math.floor(now_us / 1000)

-- tostring() would write a number of this size as 1.79e+15.
local function digits(number)
  return string.format('%.0f', number)
end

-- owner (or generation), mode, phase of a value of version 1; nil of any other.
local function parts(value)
  local owner, mode, phase = string.match(type(value) == 'string' and value or '', '^([0-9a-f]+) dlock/1 (%S+) (%S+) ')
  if owner and #owner == 32 then
    return owner, mode, phase
  end
end

-- The words of a phase whose token owns its lease; `offered` is about to.
local function owns(phase)
  return phase == 'running' or phase == 'one-shot' or phase == 'revoked'
end

local function has_receipt(token, kind)
  local since = redis.call('ZSCORE', KEYS[5], redis.sha1hex(token) .. ':' .. kind)
  -- A lease that was set down is over at its new end, which stands in its receipt.
  return since and (kind ~= 'shortened' or tonumber(since) <= now_ms)
end

local function write_receipt(token, kind, as_of)
  redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', digits(now_ms - RECEIPT_MS))
  redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -1000)
  redis.call('ZADD', KEYS[5], digits(as_of or now_ms), redis.sha1hex(token) .. ':' .. kind)
  redis.call('PEXPIRE', KEYS[5], RECEIPT_MS)
end

-- Tells those who saw a longer lease of `token` when it ends now. Whoever waits looks again within ten seconds, so an
-- end further away needs no telling.
local function shorten(token, ends)
  if ends - now_ms <= RECEIPT_MS / 2 then
    write_receipt(token, 'shortened', ends)
  else
    redis.call('ZREM', KEYS[5], redis.sha1hex(token) .. ':shortened')
  end
end

-- The lock as it stands; whoever changes it keeps this true.
--   value, owner, mode, phase   the string at the main key and its parts
--   generation, sharers         of `holders`: which marker it belongs to; owner token → { ends, phase, rest }, live ones only
--   count, last_end             how many those are, and when the longest lease among them ends
local lock = { value = redis.pcall('GET', KEYS[1]), sharers = {}, count = 0, last_end = 0 }
lock.owner, lock.mode, lock.phase = parts(lock.value)
do
  local stored = redis.call('HGETALL', KEYS[7])
  for at = 1, #stored, 2 do
    local ends, phase, rest = string.match(stored[at + 1], '^(%d+) (%S+) (.*)$')
    if stored[at] == 'generation' then
      lock.generation = stored[at + 1]
    elseif ends and tonumber(ends) > now_ms then
      lock.sharers[stored[at]] = { ends = tonumber(ends), phase = phase, rest = rest }
      lock.count = lock.count + 1
      lock.last_end = math.max(lock.last_end, tonumber(ends))
    end
  end
end

-- N of `slots:N`.
local function slots(mode)
  return tonumber(string.match(mode or '', '^slots:(%d+)$') or '')
end

local function is_sharing(mode)
  return mode == 'shared' or slots(mode) ~= nil
end

-- Whether the value is the marker of these holders.
local function is_marked()
  return lock.owner ~= nil and lock.owner == lock.generation and is_sharing(lock.mode)
end

-- Holders that are left without their marker still hold; a marker without its holders is held by somebody unknown.
local function is_free()
  return lock.count == 0 and (not lock.value or is_marked())
end

-- Whether the holders would have another one of this mode beside them; the queue is not asked.
local function may_enter(mode)
  if is_free() then
    return true
  end
  return is_marked() and mode == lock.mode and lock.count < (slots(mode) or math.huge)
end

-- The N that somebody holds by now, if it is another than `mode` has.
local function other_slots(mode)
  local held = slots(lock.mode)
  if slots(mode) and held and mode ~= lock.mode and not is_free() then
    return held
  end
end

-- Milliseconds for which the lock stays taken if nobody does anything; -1: no end is known.
local function taken_for()
  local left = lock.value and redis.call('PTTL', KEYS[1]) or 0
  return left == -1 and -1 or math.max(left, lock.last_end - now_ms, 0)
end

-- Makes `token` the one holder, whatever stands in the way.
local function set_alone(token, mode, phase, ttl, fence, expiry, holder)
  local words = { token, 'dlock/1', mode, phase, digits(now_us), ttl, digits(fence), holder }
  lock.value, lock.owner, lock.mode, lock.phase = table.concat(words, ' '), token, mode, phase
  redis.call('SET', KEYS[1], lock.value, 'PX', digits(expiry))
  if lock.generation then
    redis.call('DEL', KEYS[7])
    lock.generation = nil
  end
end

-- Marker and holders end with the longest lease among them; `was` is when they ended before.
local function settle(was)
  if lock.last_end ~= was then
    redis.call('PEXPIREAT', KEYS[1], digits(lock.last_end))
    redis.call('PEXPIREAT', KEYS[7], digits(lock.last_end))
    if lock.last_end < was then
      shorten(lock.generation, lock.last_end)
    else
      redis.call('ZREM', KEYS[5], redis.sha1hex(lock.generation) .. ':shortened')
    end
  end
end

local function latest_end()
  local latest = 0
  for _, sharer in pairs(lock.sharers) do
    latest = math.max(latest, sharer.ends)
  end
  return latest
end

-- Writes the entry of one sharer, whose marker stands. A longer lease is in the marker before it is in the entry: no
-- script that fails half-way leaves a holder that a foreign client does not see.
local function enter(token, ends, phase, rest)
  local before, was = lock.sharers[token], lock.last_end
  lock.sharers[token] = { ends = ends, phase = phase, rest = rest }
  lock.count = lock.count + (before and 0 or 1)
  local lowers = before and before.ends == was and ends < was
  lock.last_end = lowers and latest_end() or math.max(was, ends)
  if lock.last_end > was then
    settle(was)
  end
  redis.call('HSET', KEYS[7], token, digits(ends) .. ' ' .. phase .. ' ' .. rest)
  if lock.last_end < was then
    settle(was)
  end
end

-- Makes `token` one of the holders until `ends`, the first of a new generation where nobody holds.
local function join(token, mode, phase, ttl, ends, holder)
  if is_free() then
    -- As good as random: whoever could guess it would have to know the token.
    lock.generation = string.sub(redis.sha1hex(token .. digits(now_us)), 1, 32)
    local words = { lock.generation, 'dlock/1', mode, 'running', digits(now_us), ttl, '0', '{}' }
    lock.value, lock.owner, lock.mode, lock.phase = table.concat(words, ' '), lock.generation, mode, 'running'
    redis.call('SET', KEYS[1], lock.value, 'PXAT', digits(ends))
    redis.call('DEL', KEYS[7])
    redis.call('HSET', KEYS[7], 'generation', lock.generation)
    lock.sharers, lock.count, lock.last_end = {}, 0, 0
  end
  enter(token, ends, phase, digits(now_us) .. ' ' .. ttl .. ' ' .. holder)
end

-- Takes `token` out of the holders, and the marker away with the last of them. Whether the others' leases end sooner
-- than the marker told so far.
local function quit(token)
  local was = lock.last_end
  redis.call('HDEL', KEYS[7], token)
  lock.sharers[token] = nil
  lock.count, lock.last_end = lock.count - 1, latest_end()
  if not is_marked() then
    return false
  end
  if lock.count > 0 then
    settle(was)
    return lock.last_end < was
  end
  redis.call('DEL', KEYS[1], KEYS[7])
  write_receipt(lock.generation, 'released')
  lock.value, lock.owner, lock.mode, lock.phase, lock.generation = false, nil, nil, nil, nil
  return false
end

-- Makes `token` a holder for `expiry` ms and returns its fencing token, 0 for a sharer. The number is stored first: a
-- script that fails half-way (out of memory) may waste one, never grant without.
local function grant(token, mode, ttl, expiry, phase, holder)
  if is_sharing(mode) then
    join(token, mode, phase, ttl, now_ms + expiry, holder)
    return 0
  end
  local last = tonumber(redis.call('GET', KEYS[6]) or '') or 0
  local fence = math.max(last + 1, now_us)
  redis.call('SET', KEYS[6], digits(fence), 'PX', digits(DAY_MS + ttl))
  set_alone(token, mode, phase, ttl, fence, expiry, holder)
  return fence
end

-- {'held', …} of those who are in the way, so far as every asker wants to know.
local function held(ahead)
  local oldest, since = '', math.huge
  for _, sharer in pairs(lock.sharers) do
    local began = tonumber(string.match(sharer.rest, '^%d+') or '') or math.huge
    if oldest == '' or began < since then
      oldest, since = sharer.rest, began
    end
  end
  return { 'held', string.sub(lock.value or '', 1, 8192), taken_for(), now_us, ahead, string.sub(oldest, 1, 8192), lock.count }
end
