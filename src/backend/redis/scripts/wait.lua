-- A contender's look at a lock that is held or awaited: enqueues, keeps the place, confirms an offer, takes the lock when
-- it is free (or shared in the same mode) and this contender's turn, offers it to those whose turn comes before.
-- KEYS  as in head.lua
-- ARGV  1 owner token, 2 ttl ms, 3 first expiry ms, 4 phase, 5 holder data, 6 mode, 7 prefix of the channels,
--       8 'listens', 'sharded', 'polls' or 'refuses' (never queues), 9 waiter's lease ms, 10 the ticket of a place that is
--       still ours as far as we know, or '',
--       then pairs: an owner token or generation seen in the lock before, and the ms that its lease has left as last seen
-- returns {'granted', fence or 0, now µs}
--         {'undone'}                                 the token was released before this request arrived
--         {'mismatch', N}                            held or awaited with another number of slots
--         {'vanished', ms}                           ours, once the lease that vanished is over: look again then
--         {'held', value, expiry ms, now µs, waiters ahead, oldest sharer, sharers, 1 when it is our turn next, 1 when
--          nobody may be able to tell us, {those of the seen that have given the lock up}, ms until a lease may let us in,
--          our ticket or ''}

local me, mode, WAKE = ARGV[1], ARGV[6], ARGV[7]
local queues = ARGV[8] ~= 'refuses'
if type(lock.value) == 'table' then
  return lock.value
end
if is_over(me) then
  return { 'undone' }
end

-- The N for which somebody waits, if it is another than ours.
local function awaited_slots()
  local stored = redis.call('HGETALL', KEYS[4])
  for at = 1, #stored, 2 do
    local theirs = string.match(bounded(stored[at + 1]), '^dlock/1 (%S+) ')
    if slots(theirs) and theirs ~= mode and condition(stored[at], WAKE) == 'live' then
      return slots(theirs)
    end
  end
end

-- Returns our ticket.
local function keep_place()
  local ticket = redis.call('ZSCORE', KEYS[2], me)
  if not ticket then
    local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2]
    ticket = math.max((tonumber(last or '') or 0) + 1, now_us)
    if not has_receipt(me, 'dropped') then
      -- It was the queue that forgot us: whoever came later stays behind us.
      ticket = tonumber(ARGV[10]) or ticket
    end
    local since = math.min(ticket, now_us)
    ticket = digits(ticket)
    redis.call('ZADD', KEYS[2], ticket, me)
    local holder = string.match(ARGV[5], '{.*$') or ''
    redis.call('HSET', KEYS[4], me, 'dlock/1 ' .. mode .. ' ' .. digits(since) .. ' ' .. ARGV[2] .. ' ' .. holder)
    -- Whoever may release runs with the same rights, as a rule: could it tell us?
    deaf = type(say(ARGV[8], WAKE .. 'nobody')) == 'table'
  end
  redis.call('HSET', KEYS[3], me, digits(now_ms + ARGV[9]) .. ' 0 ' .. ARGV[8])
  for key = 2, 4 do
    redis.call('PEXPIRE', KEYS[key], DAY_MS)
  end
  -- Our own ear as the others see it: also false where a proxy subscribed us somewhere else.
  deaf = condition(me, WAKE) ~= 'live' or deaf
  return ticket
end

-- Grants, or keeps the lock for us until every lease that vanished is over.
local function take()
  local left = unended
  if left > 0 then
    -- No longer than we live: each look keeps it on.
    local kept = math.min(left + CONFIRM_MS, tonumber(ARGV[9]))
    local holder = string.match(ARGV[5], '{.*$') or ''
    if is_sharing(mode) then
      join(me, mode, 'offered', ARGV[2], now_ms + kept, holder)
    else
      set_alone(me, mode, 'offered', ARGV[2], 0, kept, holder)
    end
    return { 'vanished', left }
  end
  leave(me)
  return { 'granted', grant(me, mode, ARGV[2], ARGV[3], ARGV[4], ARGV[5]), now_us }
end

local sharer = is_marked() and sharer_of(me)
local phase = sharer and sharer.phase or (lock.owner == me and lock.phase)
if phase == 'offered' or phase == 'running' or phase == 'one-shot' then
  -- Whoever may enter beside us was told by whoever told us.
  return take()
end
local other = other_slots(mode)
if not other and slots(mode) and not redis.call('ZSCORE', KEYS[2], me) then
  other = awaited_slots()
end
if other then
  return { 'mismatch', other }
end
local ticket = queues and keep_place() or ''
local turn, is_ours = advance(me, mode, WAKE)
if is_ours or (not turn and may_enter(mode)) then
  local taken = take()
  if is_sharing(mode) then
    -- The lock came free by time alone, or we are a newcomer: nobody has told those behind us.
    local blocked = advance(nil, nil, WAKE)
    if blocked then
      warn(blocked, WAKE)
    end
  end
  return taken
end
local ahead, next = redis.call('ZCARD', KEYS[2]), 0
if queues then
  next = turn == me and 1 or 0
  ahead = redis.call('ZRANK', KEYS[2], me)
end
local function discount(token)
  if token ~= me and ahead > 0 and redis.call('ZSCORE', KEYS[2], token) then
    ahead = ahead - 1
  end
end
if lock.owner and not is_marked() then
  discount(lock.owner)
end
local reply, sharers = held(ahead)
for token, holder in pairs(sharers) do
  if holder.phase == 'offered' then
    discount(token)
  end
end
reply[5] = ahead
table.insert(reply, next)
table.insert(reply, deaf and 1 or 0)
table.insert(reply, given_up)
table.insert(reply, due_in(mode))
table.insert(reply, ticket)
return reply
