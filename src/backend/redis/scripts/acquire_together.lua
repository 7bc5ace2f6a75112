-- The acquire of several locks by one owner: of all, or of none where one cannot be had at once. Closes the function that
-- lock_at.lua has opened.
-- KEYS  of each lock, as in head.lua
-- ARGV  as in acquire.lua
-- returns {'granted', now µs, fence or 0 of each…}
--         {'apart'}   none is taken: ask acquire.lua for each

  return { refusal = refusal, grant = grant, now_us = now_us }
end

local locks = {}
for first = 1, #KEYS, 7 do
  local one = lock_at({ unpack(KEYS, first, first + 6) })
  if one.err then
    return one
  elseif one.refusal(ARGV[1], ARGV[6]) then
    return { 'apart' }
  end
  table.insert(locks, one)
end
local reply = { 'granted', locks[1].now_us }
for _, one in ipairs(locks) do
  table.insert(reply, one.grant(ARGV[1], ARGV[6], ARGV[2], ARGV[3], ARGV[4], ARGV[5]))
end
return reply
