-- Records the fence of a lock on several masters, if the token still owns this one.
-- KEYS  1 lock, 2 fence
-- ARGV  1 owner token, 2 fence, 3 life of the fence ms
-- returns 1 recorded, 0 not ours

local value = redis.pcall('GET', KEYS[1])
local head, rest = string.match(type(value) == 'string' and value or '', '^(%x+ dlock/1 exclusive %S+ %d+ %d+) %d+ (.*)$')
if not head or string.sub(head, 1, 33) ~= ARGV[1] .. ' ' then
  return 0
end
-- The number first: a script that fails half-way may waste one, never grant without.
local last = tonumber(redis.call('GET', KEYS[2]) or '') or 0
redis.call('SET', KEYS[2], string.format('%.0f', math.max(last, tonumber(ARGV[2]))), 'PX', ARGV[3])
redis.call('SET', KEYS[1], head .. ' ' .. ARGV[2] .. ' ' .. rest, 'KEEPTTL')
return 1
