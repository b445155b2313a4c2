-- A task failed: it is noted at whom, and it goes back unless that was often enough. Nothing
-- happens if it is not the worker's any more.
-- KEYS: todo, in progress, failed, reasons
-- ARGV: worker, line, reason, failures at which it is given up, channel of news
-- Returns 1, or 0 if nothing happened.
local line = ARGV[2]
if redis.call('HGET', KEYS[2], line) ~= ARGV[1] then
  return 0
end
redis.call('HDEL', KEYS[2], line)
local list = (redis.call('HGET', KEYS[3], line) or '') .. ARGV[1] .. ','
redis.call('HSET', KEYS[3], line, list)
redis.call('HSET', KEYS[4], line, ARGV[3])
local _, failures = string.gsub(list, '[^,]+', '')
if failures < tonumber(ARGV[4]) then
  redis.call('HSET', KEYS[1], line, '')
  redis.call('PUBLISH', ARGV[5], '')
end
return 1
