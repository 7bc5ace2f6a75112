-- Follows base.lua, and sharing.lua wherever the mode may be one of those, in every script that grants.

-- Makes `token` a holder for `expiry` ms and returns its fencing token, 0 for a sharer. The number is stored first: a
-- script that fails half-way (out of memory) may waste one, never grant without.
local function grant(token, mode, ttl, expiry, phase, holder)
  holder = dated(holder)
  if is_sharing(mode) then
    join(token, mode, phase, ttl, now_ms + expiry, holder)
    return 0
  end
  local last = tonumber(redis.call('GET', KEYS[6]) or '') or 0
  local fence = math.max(last + 1, now_us)
  -- One that the clock would not reach by itself has been raised for those who count otherwise.
  local life = last > now_us and 366 * DAY_MS or DAY_MS
  redis.call('SET', KEYS[6], digits(fence), 'PX', digits(life + ttl))
  set_alone(token, mode, phase, ttl, fence, expiry, holder)
  return fence
end
