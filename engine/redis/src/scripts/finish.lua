-- A task succeeded. Nothing happens if it is not the worker's any more.
-- KEYS: todo, in progress, finished, failed, reasons
-- ARGV: worker, line, result
-- Returns 1, or 0 if nothing happened.
local line = ARGV[2]
if redis.call('HGET', KEYS[2], line) ~= ARGV[1] then
  return 0
end
redis.call('HDEL', KEYS[2], line)
redis.call('HSET', KEYS[3], line, ARGV[3])
-- It may have been loaded again in the meantime, and may have failed before.
redis.call('HDEL', KEYS[1], line)
redis.call('HDEL', KEYS[4], line)
redis.call('HDEL', KEYS[5], line)
return 1
