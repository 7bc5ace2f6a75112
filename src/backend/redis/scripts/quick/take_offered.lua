-- Follows quick/head.lua. Takes a lock that was offered to us, as whoever was told to look may, most of the time.
-- KEYS, ARGV  as in wait.lua
-- returns {'granted', fence, now µs}
--         {'awaited'}       it is not that: ask wait.lua

if type(value) == 'table' and not string.find(value.err, 'WRONGTYPE', 1, true) then
  -- Not allowed to look, or no master to ask: whose it is remains unknown, which is no answer about the owner.
  return value
end
local text = type(value) == 'string' and string.sub(value, 1, 8192) or ''
if string.match(text, '^([0-9a-f]+) dlock/1 exclusive offered ') ~= me or ARGV[6] ~= 'exclusive' or is_over
  or call('HLEN', KEYS[7]) > 0 then
  return { 'awaited' }
end
-- A lease that ended before its time, without being given up, may still be believed in by its holder.
for at = 11, #ARGV, 2 do
  local seen, left = ARGV[at], tonumber(ARGV[at + 1])
  if left > 0 and seen ~= me then
    local theirs = redis.sha1hex(seen)
    local over_at = call('ZSCORE', KEYS[5], theirs .. ':released') and 0 or call('ZSCORE', KEYS[5], theirs .. ':shortened')
    if not over_at or tonumber(over_at) > now_us / 1000 then
      return { 'awaited' }
    end
  end
end
call('HDEL', KEYS[3], me)
call('HDEL', KEYS[4], me)
call('ZREM', KEYS[2], me)
