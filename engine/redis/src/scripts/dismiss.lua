-- Strikes a worker off, unless it has said something since.
-- KEYS: status of workers
-- ARGV: worker, what it said last
-- Returns 1, or 0 if nothing happened.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
return redis.call('HDEL', KEYS[1], ARGV[1])
