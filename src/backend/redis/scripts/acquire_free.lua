-- Follows alone.lua. The acquire of a lock that is free and awaited by nobody, as most are most of the time. It touches no
-- queue, and looks at nothing else: the server has to hash every byte of a script.
-- KEYS  as in head.lua
-- ARGV  as in acquire.lua
-- returns {'granted', fence, now µs}
--         {'undone'}        the token was released before this request arrived
--         {'awaited'}       it is not free, or others wait: ask wait.lua

if is_over(ARGV[1]) then
  return { 'undone' }
elseif lock.value == false and lock.stored == 0 and redis.call('ZCARD', KEYS[2]) == 0 then
  return { 'granted', grant_alone(ARGV[1], ARGV[6], ARGV[2], ARGV[3], ARGV[4], ARGV[5]), now_us }
end
return { 'awaited' }
