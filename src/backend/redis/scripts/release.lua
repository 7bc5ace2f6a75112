-- Gives the lock up if the token owns it or was offered it, and leaves the queue in any case.
-- KEYS  as in base.lua
-- ARGV  1 owner token, 2 prefix of the channels, 3 'undo' when a request of this token may still be on its way, else '',
--       4 'again' when an earlier try may have been carried out, else ''
-- returns 1 released, if need be by the earlier try; 0 the token holds nothing

local me, WAKE = ARGV[1], ARGV[2]
-- A value of another type is somebody else's; the place in the queue is left all the same.
local value = redis.pcall('GET', KEYS[1])
local foreign = type(value) == 'table'
local owner, mode, phase = parts(not foreign and value or nil)
local place = redis.call('ZRANK', KEYS[2], me)
leave(me)

local owns = phase == 'running' or phase == 'one-shot' or phase == 'revoked' or phase == 'offered'
if owner == me and mode == 'exclusive' and owns then
  redis.call('DEL', KEYS[1])
  write_receipt(me, 'released')
  if shared_for() == 0 then
    hand_over(nil, WAKE)
  end
  return 1
end
if not value and place and shared_for() == 0 then
  hand_over(nil, WAKE)
elseif place and place <= 1 then
  -- Whoever is first looks when the holder's lease ends, and has to learn that it is the first.
  local heir = first(nil, owner, WAKE)
  if heir then
    hint(heir, WAKE)
  end
end
if ARGV[4] == 'again' and has_receipt(me, 'released') then
  return 1
end
if ARGV[3] == 'undo' then
  write_receipt(me, 'undone')
end
return 0
