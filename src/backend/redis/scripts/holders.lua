-- Follows base.lua wherever others may hold or wait: who holds beside whom, and for how long.

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
