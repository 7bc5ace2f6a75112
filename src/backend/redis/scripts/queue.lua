-- Follows base.lua in every script that looks at the queue. `WAKE` is the prefix of the waiters' channels.

-- The longest a waiter that was offered the lock has to confirm it.
local CONFIRM_MS = 3000
-- Whether the server refused to say who listens, so that leases alone decide.
local deaf = false

local function leave(waiter)
  redis.call('HDEL', KEYS[3], waiter)
  redis.call('HDEL', KEYS[4], waiter)
  return redis.call('ZREM', KEYS[2], waiter) == 1
end

-- Errors of PUBLISH and PUBSUB (an ACL without the channel) must not end a script that has already written.
local function hint(waiter, WAKE)
  redis.pcall('PUBLISH', WAKE .. waiter, 'look')
end

-- 'live', 'silent' (passed over, keeps its ticket) or 'gone'.
local function condition(waiter, WAKE)
  local ends, offers, ear = string.match(redis.call('HGET', KEYS[3], waiter) or '', '^(%d+) (%d+) (%a+)$')
  if not ends or tonumber(ends) < now_ms or tonumber(offers) >= 2 then
    return 'gone'
  end
  if ear == 'listens' then
    local listeners = redis.pcall('PUBSUB', 'NUMSUB', WAKE .. waiter)
    if listeners.err then
      deaf = true
    elseif tonumber(listeners[2]) == 0 then
      return 'silent'
    end
  end
  return 'live'
end

-- The waiter whose turn it is: `me`, who lives since it asks, or the first that lives; `holder` has had its turn.
local function first(me, holder, WAKE)
  local rank = 0
  while true do
    local waiter = redis.call('ZRANGE', KEYS[2], rank, rank)[1]
    if not waiter or waiter == me then
      return waiter
    end
    local is = waiter == holder and 'silent' or condition(waiter, WAKE)
    if is == 'live' then
      return waiter
    elseif is == 'gone' then
      leave(waiter)
    else
      rank = rank + 1
    end
  end
end

-- Keeps the free lock for `waiter` until it confirms, and tells it; false when its entry cannot be read.
local function offer(waiter, WAKE)
  local mode, ttl, holder = string.match(redis.call('HGET', KEYS[4], waiter) or '', '^dlock/1 (%S+) %d+ (%d+) (.*)$')
  local ends, offers, ear = string.match(redis.call('HGET', KEYS[3], waiter) or '', '^(%d+) (%d+) (%a+)$')
  if not mode or not ends then
    leave(waiter)
    return false
  end
  redis.call('HSET', KEYS[3], waiter, ends .. ' ' .. (offers + 1) .. ' ' .. ear)
  local value = waiter .. ' dlock/1 ' .. mode .. ' offered ' .. digits(now_us) .. ' ' .. ttl .. ' 0 ' .. holder
  redis.call('SET', KEYS[1], value, 'PX', math.min(tonumber(ttl), CONFIRM_MS))
  hint(waiter, WAKE)
  return true
end

-- Offers the free lock to whoever's turn it is; nil when nobody waits.
local function hand_over(me, WAKE)
  while true do
    local waiter = first(me, nil, WAKE)
    if not waiter or waiter == me or offer(waiter, WAKE) then
      return waiter
    end
  end
end
