-- The uncontended acquire: grants a free lock that nobody waits for, and touches no queue.
-- KEYS  as in base.lua
-- ARGV  1 owner token, 2 ttl ms, 3 first expiry ms, 4 phase, 5 holder data
-- returns {'granted', fence, now µs}
--         {'undone'}                                 the token was released before this request arrived
--         {'held', value, expiry ms, now µs, waiters}  expiry -1: none
--         {'awaited'}                                free, but others wait: ask wait.lua

local value = redis.call('GET', KEYS[1])
if has_receipt(ARGV[1], 'undone') or has_receipt(ARGV[1], 'released') then
  return { 'undone' }
end
local owner, _, phase = parts(value)
local mine = owner == ARGV[1] and (phase == 'running' or phase == 'one-shot')
local awaited = redis.call('ZCARD', KEYS[2])
if not value then
  local left = shared_for()
  if left > 0 then
    return { 'held', '', left, now_us, awaited }
  elseif awaited > 0 then
    return { 'awaited' }
  end
elseif not mine then
  return { 'held', string.sub(value, 1, 8192), redis.call('PTTL', KEYS[1]), now_us, awaited }
end
return { 'granted', grant(ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]), now_us }
