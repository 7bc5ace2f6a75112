-- Follows holders.lua in every script that makes or ends a lease beside others.

-- Tells those who saw a longer lease of `token` when it ends now. Whoever waits looks again within ten seconds, so an
-- end further away needs no telling.
local function shorten(token, ends)
  if ends - now_ms <= RECEIPT_MS / 2 then
    write_receipt(token, 'shortened', ends)
  else
    redis.call('ZREM', KEYS[5], redis.sha1hex(token) .. ':shortened')
  end
end

-- The server's clock may go on by a millisecond between two readings of it in one script.
local CLOCK_MS = 2

-- Marker and holders end with the longest lease among them.
local function settle(last_end)
  local was = lock.last_end
  lock.last_end = last_end
  if last_end <= was and was - last_end <= CLOCK_MS then
    return false
  end
  redis.call('PEXPIREAT', KEYS[1], digits(last_end))
  redis.call('PEXPIREAT', KEYS[7], digits(last_end))
  if last_end > was then
    redis.call('ZREM', KEYS[5], redis.sha1hex(lock.generation) .. ':shortened')
    return false
  end
  shorten(lock.generation, last_end)
  return true
end

-- When the longest lease ends. Drops the entries of those that have ended: a group that never ends would collect them.
local function sweep()
  local latest = 0
  local stored = redis.call('HGETALL', KEYS[7])
  for at = 1, #stored, 2 do
    local sharer = parse_sharer(stored[at + 1])
    if sharer then
      latest = math.max(latest, sharer.ends)
    elseif stored[at] ~= 'generation' then
      redis.call('HDEL', KEYS[7], stored[at])
      lock.stored = lock.stored - 1
    end
  end
  return latest
end

-- Writes the entry of one sharer, whose marker stands. A longer lease is in the marker before it is in the entry: no
-- script that fails half-way leaves a holder that a foreign client does not see.
local function enter(token, ends, phase, rest)
  local before = sharer_of(token)
  if ends > lock.last_end then
    settle(ends)
  end
  redis.call('HSET', KEYS[7], token, digits(ends) .. ' ' .. phase .. ' ' .. rest)
  lock.stored = redis.call('HLEN', KEYS[7])
  if before and before.ends > ends and before.ends >= lock.last_end - CLOCK_MS then
    settle(sweep())
  end
end

-- Makes `token` one of the holders until `ends`, the first of a new generation where nobody holds.
local function join(token, mode, phase, ttl, ends, holder)
  if is_free() then
    -- As good as random: whoever could guess it would have to know the token.
    lock.generation = string.sub(redis.sha1hex(token .. digits(now_us)), 1, 32)
    local words = { lock.generation, 'dlock/1', mode, 'running', digits(now_us), ttl, '0', '{}' }
    lock.value, lock.owner, lock.mode, lock.phase = table.concat(words, ' '), lock.generation, mode, 'running'
    redis.call('SET', KEYS[1], lock.value, 'PXAT', digits(ends))
    redis.call('DEL', KEYS[7])
    redis.call('HSET', KEYS[7], 'generation', lock.generation)
    redis.call('PEXPIREAT', KEYS[7], digits(ends))
    lock.stored, lock.last_end = 1, ends
  end
  enter(token, ends, phase, digits(now_us) .. ' ' .. ttl .. ' ' .. holder)
end

-- Takes `sharer`, the entry of `token`, out of the holders, and the marker away with the last of them. Whether the others'
-- leases end sooner than the marker told so far.
local function quit(token, sharer)
  redis.call('HDEL', KEYS[7], token)
  lock.stored = lock.stored - 1
  if not is_marked() or sharer.ends < lock.last_end - CLOCK_MS then
    return false
  end
  local latest = sweep()
  if latest > 0 then
    return settle(latest)
  end
  redis.call('DEL', KEYS[1], KEYS[7])
  write_receipt(lock.generation, 'released')
  lock.value, lock.owner, lock.mode, lock.phase, lock.generation, lock.stored = false, nil, nil, nil, nil, 0
  return false
end
