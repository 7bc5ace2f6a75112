-- Follows base.lua in every script that looks at the queue: one waiter. `WAKE` is the prefix of the waiters' channels.

-- The longest a waiter that was offered the lock has to confirm it.
local CONFIRM_MS = 3000
-- Whether the server refused to say who listens, so that leases alone decide.
local deaf = false

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

-- Counts one more offer to `waiter`, and returns for how many ms it stands.
local function count_offer(waiter, ttl)
  redis.call('HSET', KEYS[3], waiter, (string.gsub(redis.call('HGET', KEYS[3], waiter), ' (%d+) ', function(offers)
    return ' ' .. (offers + 1) .. ' '
  end)))
  return math.min(tonumber(ttl), CONFIRM_MS)
end
