-- Follows grant.lua in the scripts that queue nobody.

-- What acquire.lua answers `token` instead of a grant; nil: it may have the lock.
local function refusal(token, mode)
  if type(lock.value) == 'table' then
    return lock.value
  end
  if is_over(token) then
    return { 'undone' }
  end
  local other = other_slots(mode)
  if other then
    return { 'mismatch', other }
  end
  local sharer = is_marked() and sharer_of(token)
  local phase = sharer and sharer.phase or (lock.owner == token and lock.phase)
  if phase == 'running' or phase == 'one-shot' then
    return nil
  end
  local awaited = redis.call('ZCARD', KEYS[2])
  -- Those who wait may be dead, or for another number of slots.
  if awaited > 0 and (may_enter(mode) or slots(mode)) then
    return { 'awaited' }
  elseif not may_enter(mode) then
    return (held(awaited))
  end
end
