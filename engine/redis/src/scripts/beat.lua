-- Says that a worker is alive, unless somebody else has said so under its name since.
-- KEYS: status of workers
-- ARGV: worker, what it says, time of what it said last
-- Returns 1, or 0 if the name is somebody else's.
local said = redis.call('HGET', KEYS[1], ARGV[1])
if said then
  local time = tonumber(string.match(said, '^%d+'))
  if time and time > tonumber(ARGV[3]) then
    return 0
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
