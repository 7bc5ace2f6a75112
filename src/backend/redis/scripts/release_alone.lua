-- Follows waiters.lua. Gives up an exclusive lease that leaves nothing behind (no word stands between its fence and what
-- the holder says of itself), as most do, and offers the lock to the next who waits, if that is one who lives and wants
-- it alone.
-- KEYS  as in head.lua
-- ARGV  1 owner token, 2 prefix of the channels
-- returns 1 released; 2 nothing is done: ask release.lua

local WAKE = ARGV[2]
if lock.owner ~= ARGV[1] or lock.mode ~= 'exclusive' or not owns(lock.phase) or lock.stored > 0
  or not string.find(bounded(lock.value), '^%S+ %S+ %S+ %S+ %d+ %d+ %d+ {') then
  return 2
end
local waiter, mode, ttl, holder = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
if waiter then
  mode, ttl, holder = entry_of(waiter)
  if waiter == ARGV[1] or mode ~= 'exclusive' or condition(waiter, WAKE) ~= 'live' then
    return 2
  end
end
redis.call('DEL', KEYS[1])
write_receipt(ARGV[1], 'released')
if waiter then
  set_alone(waiter, mode, 'offered', ttl, 0, count_offer(waiter, ttl), holder)
  hint(waiter, WAKE)
end
return 1
