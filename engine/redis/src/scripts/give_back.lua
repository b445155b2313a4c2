-- A task goes back to the queue. Nothing happens if it is not the worker's any more.
-- KEYS: todo, in progress
-- ARGV: worker, line, channel of news
-- Returns 1, or 0 if nothing happened.
local line = ARGV[2]
if redis.call('HGET', KEYS[2], line) ~= ARGV[1] then
  return 0
end
redis.call('HDEL', KEYS[2], line)
redis.call('HSET', KEYS[1], line, '')
redis.call('PUBLISH', ARGV[3], '')
return 1
