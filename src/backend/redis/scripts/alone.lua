-- Follows head.lua in every script that grants.

-- Whether `token` has had its lease already.
local function is_over(token)
  local receipt = redis.sha1hex(token) .. ':'
  for _, kind in ipairs({ 'released', 'kept', 'undone' }) do
    if redis.call('ZSCORE', KEYS[5], receipt .. kind) then
      return true
    end
  end
  return false
end

-- What a contender says of itself as it is stored in a grant: `hold=<ms>` counts from now on.
local function dated(words)
  return (string.gsub(words, '^hold=(%d+)', function(ms)
    return 'until=' .. digits(math.ceil(now_us / 1000) + ms)
  end))
end

-- Makes `token` the one holder for `expiry` ms and returns its fencing token. The number is stored first: a script that
-- fails half-way (out of memory) may waste one, never grant without.
local function grant_alone(token, mode, ttl, expiry, phase, holder)
  local last = tonumber(redis.call('GET', KEYS[6]) or '') or 0
  local fence = math.max(last + 1, now_us)
  -- One that the clock would not reach by itself has been raised for those who count otherwise.
  local life = last > now_us and 366 * DAY_MS or DAY_MS
  redis.call('SET', KEYS[6], digits(fence), 'PX', digits(life + ttl))
  set_alone(token, mode, phase, ttl, fence, expiry, dated(holder))
  return fence
end
