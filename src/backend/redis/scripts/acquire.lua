-- The uncontended acquire: grants a lock that is free, or shared in the same mode, and that nobody waits for; touches no
-- queue.
-- KEYS  as in base.lua
-- ARGV  1 owner token, 2 ttl ms, 3 first expiry ms, 4 phase, 5 holder data, 6 mode
-- returns {'granted', fence or 0, now µs}
--         {'undone'}                                 the token was released before this request arrived
--         {'mismatch', N}                            held with another number of slots
--         {'held', value, expiry ms, now µs, waiters, oldest sharer, sharers}  expiry -1: none
--         {'awaited'}                                others wait: ask wait.lua

local me, mode = ARGV[1], ARGV[6]
if type(lock.value) == 'table' then
  return lock.value
end
if is_over(me) then
  return { 'undone' }
end
local other = other_slots(mode)
if other then
  return { 'mismatch', other }
end
local sharer = is_marked() and sharer_of(me)
local phase = sharer and sharer.phase or (lock.owner == me and lock.phase)
local awaited = redis.call('ZCARD', KEYS[2])
if phase ~= 'running' and phase ~= 'one-shot' then
  -- Those who wait may be dead, or for another number of slots.
  if awaited > 0 and (may_enter(mode) or slots(mode)) then
    return { 'awaited' }
  elseif not may_enter(mode) then
    return (held(awaited))
  end
end
return { 'granted', grant(me, mode, ARGV[2], ARGV[3], ARGV[4], ARGV[5]), now_us }
