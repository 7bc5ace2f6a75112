-- A contender's look at a lock that is held or awaited: enqueues, keeps the place, confirms an offer, takes the lock when
-- it is free and this contender's turn, offers it when it is another's.
-- KEYS  as in base.lua
-- ARGV  1 owner token, 2 ttl ms, 3 first expiry ms, 4 phase, 5 holder data, 6 prefix of the channels,
--       7 'listens', 'polls' or 'refuses' (never queues), 8 waiter's lease ms,
--       then pairs: an owner token seen in the lock before, and the ms that its lease has left as last seen
-- returns {'granted', fence, now µs}
--         {'undone'}                                 the token was released before this request arrived
--         {'vanished', ms}                           ours, once the lease that vanished is over: look again then
--         {'held', value, expiry ms, now µs, waiters ahead, 1 when it is our turn next, 1 when nobody
--          may be able to tell us, {those of the seen tokens that have given the lock up}}

local me, WAKE = ARGV[1], ARGV[6]
local queues = ARGV[7] ~= 'refuses'
local value = redis.call('GET', KEYS[1])
if has_receipt(me, 'undone') or has_receipt(me, 'released') then
  return { 'undone' }
end

local function keep_place()
  if not redis.call('ZSCORE', KEYS[2], me) then
    local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2]
    redis.call('ZADD', KEYS[2], digits(math.max((tonumber(last or '') or 0) + 1, now_us)), me)
    redis.call('HSET', KEYS[4], me, 'dlock/1 exclusive ' .. digits(now_us) .. ' ' .. ARGV[2] .. ' ' .. ARGV[5])
    -- Whoever may release runs with the same rights, as a rule: could it tell us?
    deaf = type(redis.pcall('PUBLISH', WAKE .. 'nobody', 'look')) == 'table'
  end
  redis.call('HSET', KEYS[3], me, digits(now_ms + ARGV[8]) .. ' 0 ' .. ARGV[7])
  for key = 2, 4 do
    redis.call('PEXPIRE', KEYS[key], DAY_MS)
  end
  -- Our own ear as the others see it: also false where a proxy subscribed us somewhere else.
  deaf = condition(me, WAKE) ~= 'live' or deaf
end

local owner, mode, phase = parts(value)
-- A lease that ended before its time, without being given up, may still be believed in by its holder.
local given_up, unended = {}, 0
for at = 9, #ARGV, 2 do
  local seen, left = ARGV[at], tonumber(ARGV[at + 1])
  if has_receipt(seen, 'released') or has_receipt(seen, 'shortened') then
    table.insert(given_up, seen)
  elseif seen ~= me and seen ~= owner and left > unended then
    unended = left
  end
end

-- Grants, or keeps the lock for us until every lease that vanished is over.
local function take()
  local left = unended
  if left > 0 then
    local kept = me .. ' dlock/1 exclusive offered ' .. digits(now_us) .. ' ' .. ARGV[2] .. ' 0 ' .. ARGV[5]
    -- No longer than we live: each look keeps it on.
    redis.call('SET', KEYS[1], kept, 'PX', digits(math.min(left + CONFIRM_MS, tonumber(ARGV[8]))))
    return { 'vanished', left }
  end
  leave(me)
  return { 'granted', grant(me, ARGV[2], ARGV[3], ARGV[4], ARGV[5]), now_us }
end

if owner == me and mode == 'exclusive' and (phase == 'offered' or phase == 'running' or phase == 'one-shot') then
  return take()
end
if queues then
  keep_place()
end
local left = value and redis.call('PTTL', KEYS[1]) or shared_for()
if not value and left == 0 then
  local turn = hand_over(me, WAKE)
  if not turn or turn == me then
    return take()
  end
  value = redis.call('GET', KEYS[1])
  left = redis.call('PTTL', KEYS[1])
  owner = turn
end
local ahead, next = redis.call('ZCARD', KEYS[2]), 0
if queues then
  next = first(me, owner, WAKE) == me and 1 or 0
  ahead = redis.call('ZRANK', KEYS[2], me)
end
if owner and ahead > 0 and redis.call('ZSCORE', KEYS[2], owner) then
  ahead = ahead - 1
end
return { 'held', string.sub(value or '', 1, 8192), left, now_us, ahead, next, deaf and 1 or 0, given_up }
