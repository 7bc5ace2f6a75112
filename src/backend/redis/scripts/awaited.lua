-- Follows wait_offered.lua where that is the whole script.

return { 'awaited' }
