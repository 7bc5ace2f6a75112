-- Takes the lock back from one holder: a mark in its lease where a command runs under it, else at once; and then offers
-- what became free to those whose turn it is.
-- KEYS  as in head.lua
-- ARGV  1 owner token, or what else was at the key: the first bytes of a string, the name of a type
--       2 prefix of the channels
--       3 'sharer', 'owner', 'text' or 'type': what 1 is
--       4 'now' to free it whatever runs, else ''
--       5 'again' when an earlier try may have been carried out, else ''
-- returns 2 the mark stands, 1 freed, if need be by the earlier try, 0 that holder holds nothing, and nothing was done

local me, WAKE, is, now = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == 'now'

-- Nobody runs under the others, or nobody that could be asked; where nothing but the delay is left the lease is over.
local function can_be_asked(phase, words, left)
  local delay = tonumber(string.match(words, '^[^{]* delay=(%d+)') or '') or 0
  local runs = phase ~= 'one-shot' and phase ~= 'held-at-least' and phase ~= 'lock-delay'
  return runs and not now and (delay == 0 or left > delay)
end

local function free()
  redis.call('DEL', KEYS[1])
  lock.value, lock.owner, lock.mode, lock.phase = false, nil, nil, nil
  advance(nil, nil, WAKE)
  return 1
end

if is == 'type' then
  return type(lock.value) == 'table' and redis.call('TYPE', KEYS[1]).ok == me and free() or 0
elseif is == 'text' then
  -- Another program's, and a marker whose holders are gone: nobody can be asked.
  local foreign = type(lock.value) == 'string' and not is_marked()
  return foreign and bounded(lock.value) == me and free() or 0
elseif is == 'owner' and lock.owner == me and lock.mode == 'exclusive' and lock.phase ~= 'offered' then
  if can_be_asked(lock.phase, lock.value, redis.call('PTTL', KEYS[1])) then
    local marked = string.gsub(lock.value, '^(%S+ %S+ %S+) %S+', '%1 revoked', 1)
    redis.call('SET', KEYS[1], marked, 'KEEPTTL')
    return 2
  end
  -- Those who saw its lease may go on at once.
  write_receipt(me, 'released')
  return free()
end

local sharer = is == 'sharer' and sharer_of(me)
if sharer and sharer.phase ~= 'offered' then
  if is_marked() and can_be_asked(sharer.phase, sharer.rest, sharer.ends - now_ms) then
    redis.call('HSET', KEYS[7], me, digits(sharer.ends) .. ' revoked ' .. sharer.rest)
    return 2
  end
  write_receipt(me, 'released')
  local ends_sooner = quit(me, sharer)
  local blocked = advance(nil, nil, WAKE)
  if blocked and ends_sooner then
    warn(blocked, WAKE)
  end
  return 1
end
return ARGV[5] == 'again' and has_receipt(me, 'released') and 1 or 0
