-- Follows quick/head.lua. The acquire of a lock that is free and awaited by nobody, as most are most of the time.
-- KEYS  as in head.lua
-- ARGV  as in acquire.lua
-- returns {'granted', fence, now µs}
--         {'undone'}        the token was released before this request arrived
--         {'awaited'}       it is not free, or others wait: ask wait.lua

if is_over then
  return { 'undone' }
elseif value ~= false or call('HLEN', KEYS[7]) > 0 or call('ZCARD', KEYS[2]) > 0 then
  return { 'awaited' }
end
