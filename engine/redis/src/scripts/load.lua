-- Adds tasks that are not there in any state but failed.
-- KEYS: todo, in progress, finished
-- ARGV: lines
-- Returns how many are new.
local added = 0
for at = 1, #ARGV do
  local line = ARGV[at]
  if redis.call('HEXISTS', KEYS[3], line) == 0 and redis.call('HEXISTS', KEYS[2], line) == 0 then
    added = added + redis.call('HSETNX', KEYS[1], line, '')
  end
end
return added
