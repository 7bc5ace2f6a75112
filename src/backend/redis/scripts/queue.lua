-- Follows base.lua in every script that looks at the queue. `WAKE` is the prefix of the waiters' channels.

-- The longest a waiter that was offered the lock has to confirm it.
local CONFIRM_MS = 3000
-- The longest lease of a waiter, which looks every third of it.
local PLACE_MS = 30000
-- Whether the server refused to say who listens, so that leases alone decide.
local deaf = false

local function leave(waiter)
  redis.call('HDEL', KEYS[3], waiter)
  redis.call('HDEL', KEYS[4], waiter)
  return redis.call('ZREM', KEYS[2], waiter) == 1
end

-- When a waiter's lease ends, how often it was offered the lock, and how it hears.
local function lease_of(waiter)
  return string.match(bounded(redis.call('HGET', KEYS[3], waiter) or ''), '^(%d+) (%d+) (%a+)$')
end

-- Errors of these and of PUBSUB (an ACL without the channel) must not end a script that has already written.
local function say(ear, channel)
  return redis.pcall(ear == 'sharded' and 'SPUBLISH' or 'PUBLISH', channel, 'look')
end

local function hint(waiter, WAKE)
  say(select(3, lease_of(waiter)), WAKE .. waiter)
end

-- 'live', 'silent' (passed over, keeps its ticket), 'lapsed' (may come back, but at the end) or 'gone'.
local function condition(waiter, WAKE)
  local ends, offers, ear = lease_of(waiter)
  if not ends then
    return 'gone'
  elseif tonumber(ends) < now_ms or tonumber(offers) >= 2 then
    return 'lapsed'
  end
  if ear == 'listens' or ear == 'sharded' then
    local listeners = redis.pcall('PUBSUB', ear == 'sharded' and 'SHARDNUMSUB' or 'NUMSUB', WAKE .. waiter)
    if listeners.err then
      deaf = true
    elseif tonumber(listeners[2]) == 0 then
      return 'silent'
    end
  end
  return 'live'
end

-- mode, ttl ms, holder data of what a waiter left about itself; nil when it cannot be read.
local function entry_of(waiter)
  return string.match(bounded(redis.call('HGET', KEYS[4], waiter) or ''), '^dlock/1 (%S+) %d+ (%d+) (.*)$')
end

-- Keeps what is free of the lock for `waiter` until it confirms, and tells it.
local function offer(waiter, mode, ttl, holder, WAKE)
  redis.call('HSET', KEYS[3], waiter, (string.gsub(redis.call('HGET', KEYS[3], waiter), ' (%d+) ', function(offers)
    return ' ' .. (offers + 1) .. ' '
  end)))
  local confirm = math.min(tonumber(ttl), CONFIRM_MS)
  if is_sharing(mode) then
    join(waiter, mode, 'offered', ttl, now_ms + confirm, holder)
  else
    set_alone(waiter, mode, 'offered', ttl, 0, confirm, holder)
  end
  hint(waiter, WAKE)
end

-- Offers the lock to everybody whose turn it is, in the order of the queue. Stops at the first who lives and has to wait,
-- and returns it; or at `me`, who lives since it asks and wants `my_mode`: with true when it may enter. Whoever has been
-- offered the lock has had its turn.
local function advance(me, my_mode, WAKE)
  local rank = 0
  while true do
    local waiter = redis.call('ZRANGE', KEYS[2], rank, rank)[1]
    if not waiter then
      return nil, false
    elseif waiter == me then
      return me, may_enter(my_mode)
    end
    local is = (waiter == lock.owner or sharer_of(waiter)) and 'silent' or condition(waiter, WAKE)
    if is == 'live' then
      local mode, ttl, holder = entry_of(waiter)
      if not mode then
        is = 'gone'
      elseif not may_enter(mode) then
        return waiter, false
      else
        offer(waiter, mode, ttl, holder, WAKE)
        -- A contender that asks has to know whether it comes next, should the offer lapse.
        if not is_sharing(mode) and not me then
          return nil, false
        end
      end
    end
    if is == 'lapsed' then
      write_receipt(waiter, 'dropped')
    end
    if is == 'gone' or is == 'lapsed' then
      leave(waiter)
    else
      rank = rank + 1
    end
  end
end

-- Whether a waiter of this mode gets in as soon as any of the holders goes.
local function waits_for_one(mode)
  return is_marked() and mode == lock.mode
end

-- Milliseconds after which a waiter of this mode may find itself let in though nobody gave up: a lease has ended.
local function due_in(mode)
  if not waits_for_one(mode) then
    return taken_for()
  end
  local first = math.huge
  for _, sharer in pairs((all_sharers())) do
    first = math.min(first, sharer.ends)
  end
  return first - now_ms
end

-- Tells the first waiter of an end that lies before its next look.
local function warn(waiter, WAKE)
  local mode, ttl = entry_of(waiter)
  if mode and not waits_for_one(mode) and taken_for() < math.min(tonumber(ttl), PLACE_MS) / 3 then
    hint(waiter, WAKE)
  end
end
