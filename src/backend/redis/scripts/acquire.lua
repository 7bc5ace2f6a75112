-- The uncontended acquire: grants a lock that is free, or shared in the same mode, and that nobody waits for; touches no
-- queue.
-- KEYS  as in head.lua
-- ARGV  1 owner token, 2 ttl ms, 3 first expiry ms, 4 phase, 5 holder data, 6 mode
-- returns {'granted', fence or 0, now µs}
--         {'undone'}                                 the token was released before this request arrived
--         {'mismatch', N}                            held with another number of slots
--         {'held', value, expiry ms, now µs, waiters, oldest sharer, sharers}  expiry -1: none
--         {'awaited'}                                others wait: ask wait.lua

return refusal(ARGV[1], ARGV[6])
  or { 'granted', grant(ARGV[1], ARGV[6], ARGV[2], ARGV[3], ARGV[4], ARGV[5]), now_us }
