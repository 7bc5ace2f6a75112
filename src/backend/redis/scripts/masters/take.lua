-- Follows holders.lua. One master's part of a lock on several: takes it here, and tells the fence while it is owned. Nobody
-- waits in a queue.
-- KEYS  as in head.lua
-- ARGV  1 owner token, 2 ttl ms, 3 first expiry ms, 4 phase, 5 holder data, 6 number of masters
-- returns {'granted', highest fence so far, now µs}
--         {'held', value, expiry ms, now µs}   expiry -1: none
--         {'masters', number}                  held by somebody who counts so many
--         {'twice'}                            this token has it already: two names of one server
--         {'undone'}                           the token was released before this request arrived

local me = ARGV[1]
if type(lock.value) == 'table' then
  return lock.value
end
if is_over(me) then
  return { 'undone' }
end
if lock.owner == me then
  return { 'twice' }
end
if not is_free() then
  local counted = lock.owner and (string.match(bounded(lock.value), '^[^{]* masters=(%d+) ') or '1')
  if counted and counted ~= ARGV[6] then
    return { 'masters', tonumber(counted) }
  end
  return { 'held', bounded(lock.value or ''), taken_for(), now_us }
end
set_alone(me, 'exclusive', ARGV[4], ARGV[2], 0, ARGV[3], 'masters=' .. ARGV[6] .. ' ' .. dated(ARGV[5]))
-- No lower than a single server would give: who moves from one to several masters goes on from there.
return { 'granted', math.max(tonumber(redis.call('GET', KEYS[6]) or '') or 0, now_us), now_us }
