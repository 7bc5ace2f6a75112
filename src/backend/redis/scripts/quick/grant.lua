-- Closes what quick/head.lua opens. The number is stored first: a script that fails half-way (out of memory) may waste one,
-- never grant without.

local last = tonumber(call('GET', KEYS[6]) or '') or 0
local fence = math.max(last + 1, now_us)
-- One that the clock would not reach by itself has been raised for those who count otherwise.
local life = last > now_us and 366 * DAY_MS or DAY_MS
local number = string.format('%.0f', fence)
call('SET', KEYS[6], number, 'PX', string.format('%.0f', life + ARGV[2]))
local holder = ARGV[5]
if string.sub(holder, 1, 5) == 'hold=' then
  -- It counts from now on.
  holder = string.gsub(holder, '^hold=(%d+)', function(ms)
    return 'until=' .. string.format('%.0f', math.ceil(now_us / 1000) + ms)
  end)
end
local words = { me, 'dlock/1 exclusive', ARGV[4], string.format('%.0f', now_us), ARGV[2], number, holder }
call('SET', KEYS[1], table.concat(words, ' '), 'PX', ARGV[3])
return { 'granted', fence, now_us }
