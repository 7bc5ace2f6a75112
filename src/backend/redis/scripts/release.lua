-- Gives the lock up if the token owns it or was offered it, leaves the queue in any case, and offers what became free to
-- those whose turn it is. Where others are to be kept out a while longer, a tombstone of its own takes the lease's place.
-- KEYS  as in head.lua
-- ARGV  1 owner token, 2 prefix of the channels, 3 'undo' when a request of this token may still be on its way, else '',
--       4 'again' when an earlier try may have been carried out, else ''
--       5 which words of the grant count: 'until', 'delay', both or neither
-- returns 1 released, if need be by the earlier try; 0 the token holds nothing

local me, WAKE = ARGV[1], ARGV[2]
-- A value of another type is somebody else's; the place in the queue is left all the same.
local place = redis.call('ZRANK', KEYS[2], me)
leave(me)

local sharer = sharer_of(me)
local function gives_up(phase)
  return owns(phase) or phase == 'offered'
end

-- The phase and the end of what `words` of the grant leave behind; nil: nothing.
local function tombstone(words)
  local function number(name)
    return string.find(ARGV[5], name, 1, true) and tonumber(string.match(words, ' ' .. name .. '=(%d+)') or '') or 0
  end
  local held_until, delayed_until = number('until'), number('delay')
  if delayed_until > 0 then
    delayed_until = math.ceil(now_us / 1000) + delayed_until
  end
  if math.max(held_until, delayed_until) > now_ms then
    return held_until > delayed_until and 'held-at-least' or 'lock-delay', math.max(held_until, delayed_until)
  end
end

-- Leaves the lock taken until `ends`, which those who saw another end have to learn.
local function leave_taken(phase, ends)
  local left = redis.call('PTTL', KEYS[1])
  lock.value = string.gsub(lock.value, '^(%S+ %S+ %S+) %S+', '%1 ' .. phase)
  lock.phase = phase
  redis.call('SET', KEYS[1], lock.value, 'PXAT', digits(ends))
  if ends < now_ms + left then
    shorten(me, ends)
  end
end

local was_ours, ends_sooner, stays = false, false, false
if lock.owner == me and lock.mode == 'exclusive' and gives_up(lock.phase) then
  local phase, ends = tombstone(string.match(lock.value, '^[^{]*'))
  if phase then
    leave_taken(phase, ends)
    stays = true
  else
    redis.call('DEL', KEYS[1])
    lock.value, lock.owner, lock.mode, lock.phase = false, nil, nil, nil
  end
  was_ours = true
elseif sharer and gives_up(sharer.phase) then
  -- Without its marker it was lost before; nobody believes in it now.
  was_ours = is_marked()
  local phase, ends = tombstone(string.match(sharer.rest, '^[^{]*'))
  if was_ours and phase then
    enter(me, ends, phase, sharer.rest)
    stays = true
  else
    ends_sooner = quit(me, sharer)
  end
end
if was_ours then
  write_receipt(me, stays and 'kept' or 'released')
end
if was_ours or sharer or place then
  local blocked = advance(nil, nil, WAKE)
  if blocked and place and redis.call('ZRANK', KEYS[2], blocked) >= place then
    -- Whoever is first looks when the holder's lease ends, and has to learn that it is the first.
    hint(blocked, WAKE)
  elseif blocked and stays then
    -- It looks when the lease ends that it saw, and that has changed.
    hint(blocked, WAKE)
  elseif blocked and ends_sooner then
    warn(blocked, WAKE)
  end
end
if was_ours or (ARGV[4] == 'again' and (has_receipt(me, 'released') or has_receipt(me, 'kept'))) then
  return 1
end
if ARGV[3] == 'undo' then
  write_receipt(me, 'undone')
end
return 0
