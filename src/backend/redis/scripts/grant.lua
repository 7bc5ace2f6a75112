-- Follows alone.lua, and sharing.lua wherever the mode may be one of those.

-- Makes `token` a holder for `expiry` ms and returns its fencing token, 0 for a sharer.
local function grant(token, mode, ttl, expiry, phase, holder)
  if is_sharing(mode) then
    join(token, mode, phase, ttl, now_ms + expiry, dated(holder))
    return 0
  end
  return grant_alone(token, mode, ttl, expiry, phase, holder)
end
