-- Follows a layout's own functions. Gives the lock up if it is the owner's, and wakes who waits for it.
-- ARGV  1 owner, 2 channel, 3 'undo' when a request of this owner may still be on its way, else ''
-- returns 1 released, 0 not ours

local read, owner = pcall(owner_now)
local mine = read and owner == ARGV[1]
if mine then
  redis.call('DEL', KEYS[1], KEYS[2])
  wake(ARGV[2])
end
if ARGV[3] == 'undo' then
  redis.call('SET', KEYS[3], '1', 'PX', 60000)
end
return mine and 1 or 0
