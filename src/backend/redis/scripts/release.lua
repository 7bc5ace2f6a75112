-- Gives the lock up if the token owns it or was offered it, leaves the queue in any case, and offers what became free to
-- those whose turn it is.
-- KEYS  as in base.lua
-- ARGV  1 owner token, 2 prefix of the channels, 3 'undo' when a request of this token may still be on its way, else '',
--       4 'again' when an earlier try may have been carried out, else ''
-- returns 1 released, if need be by the earlier try; 0 the token holds nothing

local me, WAKE = ARGV[1], ARGV[2]
-- A value of another type is somebody else's; the place in the queue is left all the same.
local place = redis.call('ZRANK', KEYS[2], me)
leave(me)

local sharer = sharer_of(me)
local function gives_up(phase)
  return owns(phase) or phase == 'offered'
end
local was_ours, ends_sooner = false, false
if lock.owner == me and lock.mode == 'exclusive' and gives_up(lock.phase) then
  redis.call('DEL', KEYS[1])
  lock.value, lock.owner, lock.mode, lock.phase = false, nil, nil, nil
  was_ours = true
elseif sharer and gives_up(sharer.phase) then
  -- Without its marker it was lost before; nobody believes in it now.
  was_ours = is_marked()
  ends_sooner = quit(me, sharer)
end
if was_ours then
  write_receipt(me, 'released')
end
if was_ours or sharer or place then
  local blocked = advance(nil, nil, WAKE)
  if blocked and place and redis.call('ZRANK', KEYS[2], blocked) >= place then
    -- Whoever is first looks when the holder's lease ends, and has to learn that it is the first.
    hint(blocked, WAKE)
  elseif blocked and ends_sooner then
    warn(blocked, WAKE)
  end
end
if was_ours or (ARGV[4] == 'again' and has_receipt(me, 'released')) then
  return 1
end
if ARGV[3] == 'undo' then
  write_receipt(me, 'undone')
end
return 0
