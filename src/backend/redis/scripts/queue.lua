-- Follows waiters.lua and sharing.lua in every script that looks at the whole queue.

-- The longest lease of a waiter, which looks every third of it.
local PLACE_MS = 30000
-- Keeps what is free of the lock for `waiter` until it confirms, and tells it.
local function offer(waiter, mode, ttl, holder, WAKE)
  local confirm = count_offer(waiter, ttl)
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
