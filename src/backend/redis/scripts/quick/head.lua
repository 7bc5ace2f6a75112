-- Opens what grants to one contender alone in a hurry: the same as head.lua and alone.lua, straight on. A server makes each
-- function of a script anew whenever it runs, and hashes every byte.
-- KEYS  as in head.lua

local DAY_MS = 86400000
local call, me = redis.call, ARGV[1]
local time = call('TIME')
local now_us = time[1] * 1000000 + time[2]
local value = redis.pcall('GET', KEYS[1])
-- Whether we have had our lease already.
local receipt = redis.sha1hex(me)
local is_over = call('ZSCORE', KEYS[5], receipt .. ':released') or call('ZSCORE', KEYS[5], receipt .. ':kept')
  or call('ZSCORE', KEYS[5], receipt .. ':undone')
