-- Opens wait.lua, whose KEYS and ARGV these are: what was offered to us is ours before anything else is looked at.

-- A lease that ended before its time, without being given up, may still be believed in by its holder.
local given_up, unended = {}, 0
for at = 11, #ARGV, 2 do
  local seen, left = ARGV[at], tonumber(ARGV[at + 1])
  if has_receipt(seen, 'released') or has_receipt(seen, 'shortened') then
    table.insert(given_up, seen)
  elseif seen ~= ARGV[1] and seen ~= lock.owner and left > unended then
    unended = left
  end
end

if ARGV[6] == 'exclusive' and lock.owner == ARGV[1] and lock.mode == 'exclusive' and lock.phase == 'offered'
  and lock.stored == 0 and unended == 0 and not is_over(ARGV[1]) then
  leave(ARGV[1])
  return { 'granted', grant_alone(ARGV[1], ARGV[6], ARGV[2], ARGV[3], ARGV[4], ARGV[5]), now_us }
end
