-- Failed tasks are tried again as if they never had been. Those that run are left where they are.
-- KEYS: todo, in progress, failed, reasons
-- ARGV: lines
-- Returns how many were failed ones.
local moved = 0
for at = 1, #ARGV do
  local line = ARGV[at]
  if redis.call('HDEL', KEYS[3], line) == 1 then
    moved = moved + 1
    redis.call('HDEL', KEYS[4], line)
    if redis.call('HEXISTS', KEYS[2], line) == 0 then
      redis.call('HSET', KEYS[1], line, '')
    end
  end
end
return moved
