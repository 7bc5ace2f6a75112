-- Follows a layout's own functions in the scripts of a holder.

-- What the record of `owner` says before the holder data; '' without a record.
local function words_of(owner)
  local record = redis.pcall('HGET', KEYS[2], owner)
  return type(record) == 'string' and string.match(record, '^[^{]*') or ''
end

-- Whether nothing is left of a lease but others being kept out.
local function is_tombstone(words)
  local phase = string.match(words, '^dlock/1 exclusive %d+ (%S+)')
  return phase == 'held-at-least' or phase == 'lock-delay'
end
