-- Goes before all that acquire.lua follows, and makes a function of it, for the seven names of one lock; acquire_together.lua
-- closes it.

local function lock_at(KEYS)
