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

-- What is looked at of a text that anybody may have written: matching half a gigabyte would keep the server busy for seconds.
local function bounded(text)
  return string.sub(text, 1, 8192)
end

-- owner (or generation), mode, phase of a value of version 1; nil of any other.
local function parts(value)
  local text = type(value) == 'string' and bounded(value) or ''
  local owner, mode, phase = string.match(text, '^([0-9a-f]+) dlock/1 (%S+) (%S+) ')
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

-- Whether `token` has had its lease already.
local function is_over(token)
  return has_receipt(token, 'undone') or has_receipt(token, 'released') or has_receipt(token, 'kept')
end

-- What a contender says of itself as it is stored in a grant: `hold=<ms>` counts from now on.
local function dated(words)
  return (string.gsub(words, '^hold=(%d+)', function(ms)
    return 'until=' .. digits(math.ceil(now_us / 1000) + ms)
  end))
end

-- The lock as it stands; whoever changes it keeps this true.
--   value, owner, mode, phase   the string at the main key and its parts
--   generation                  which marker `holders` belongs to
--   stored                      the number of fields in `holders`, those of ended leases included
--   last_end                    of a marker: when the longest lease of its holders ends
local lock = { value = redis.pcall('GET', KEYS[1]), stored = redis.call('HLEN', KEYS[7]) }
lock.owner, lock.mode, lock.phase = parts(lock.value)
if type(lock.value) == 'table' and not string.find(lock.value.err, 'WRONGTYPE', 1, true) then
  -- Not allowed to look, or no master to ask: whose it is remains unknown, which is no answer about the owner.
  return lock.value
end
if lock.stored > 0 then
  lock.generation = redis.call('HGET', KEYS[7], 'generation')
end

-- { ends, phase, rest } of an entry of `holders` that lives.
local function parse_sharer(entry)
  local ends, phase, rest = string.match(bounded(entry or ''), '^(%d+) (%S+) (.*)$')
  if ends and tonumber(ends) > now_ms then
    return { ends = tonumber(ends), phase = phase, rest = rest }
  end
end

local function sharer_of(token)
  return lock.stored > 0 and token ~= 'generation' and parse_sharer(redis.call('HGET', KEYS[7], token)) or nil
end

-- All of them, owner token → { ends, phase, rest }, and their number: for the few who need it, since there may be many.
local function all_sharers()
  local sharers, count = {}, 0
  local stored = lock.stored > 0 and redis.call('HGETALL', KEYS[7]) or {}
  for at = 1, #stored, 2 do
    local sharer = stored[at] ~= 'generation' and parse_sharer(stored[at + 1])
    if sharer then
      sharers[stored[at]], count = sharer, count + 1
    end
  end
  return sharers, count
end

local function latest_end()
  local latest = 0
  for _, sharer in pairs((all_sharers())) do
    latest = math.max(latest, sharer.ends)
  end
  return latest
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

if is_marked() then
  lock.last_end = now_ms + redis.call('PTTL', KEYS[1])
end

-- Holders that are left without their marker still hold; a marker without its holders is held by somebody unknown.
local function is_free()
  if is_marked() then
    return lock.last_end <= now_ms
  end
  return not lock.value and latest_end() == 0
end

-- Whether the holders would have another one of this mode beside them; the queue is not asked.
local function may_enter(mode)
  if is_free() then
    return true
  elseif not is_marked() or mode ~= lock.mode then
    return false
  end
  local most = slots(mode)
  return not most or lock.stored - 1 < most or select(2, all_sharers()) < most
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
  if left == -1 or is_marked() then
    return left
  end
  return math.max(left, latest_end() - now_ms, 0)
end

-- Makes `token` the one holder, whatever stands in the way.
local function set_alone(token, mode, phase, ttl, fence, expiry, holder)
  local words = { token, 'dlock/1', mode, phase, digits(now_us), ttl, digits(fence), holder }
  lock.value, lock.owner, lock.mode, lock.phase = table.concat(words, ' '), token, mode, phase
  redis.call('SET', KEYS[1], lock.value, 'PX', digits(expiry))
  if lock.stored > 0 then
    redis.call('DEL', KEYS[7])
    lock.stored, lock.generation = 0, nil
  end
end

-- {'held', …} of those who are in the way, so far as every asker wants to know.
local function held(ahead)
  local sharers, count = all_sharers()
  local oldest, since = '', math.huge
  for _, sharer in pairs(sharers) do
    local began = tonumber(string.match(sharer.rest, '^%d+') or '') or math.huge
    if oldest == '' or began < since then
      oldest, since = sharer.rest, began
    end
  end
  return { 'held', bounded(lock.value or ''), taken_for(), now_us, ahead, oldest, count }, sharers
end
